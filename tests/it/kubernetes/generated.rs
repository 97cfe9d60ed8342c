//! The code that was generated from the `.proto` is checked in, so that nobody needs a compiler for it to build
//! mintkeep; this generates it anew.

use std::fs;
use std::path::Path;

const PROTO: &str = "external_jwt.proto";

/// Where it is not, `mv` what is in the temporary folder of the target to the place that the message names.
#[test]
fn the_code_is_what_the_proto_gives() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let descriptors = protox::compile([PROTO], [root.join("src/kubernetes")]).expect("the proto is good");
    for (place, is_server) in [("src/kubernetes/api.rs", true), ("tests/it/kubernetes/api.rs", false)] {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(if is_server { "server" } else { "client" });
        fs::create_dir_all(&folder).expect("a folder");
        tonic_prost_build::configure()
            .build_server(is_server)
            .build_client(!is_server)
            .build_transport(false)
            .out_dir(&folder)
            .compile_fds(descriptors.clone())
            .expect("code");
        let generated = folder.join("v1.rs");
        let is_same = fs::read(root.join(place)).ok() == fs::read(&generated).ok();
        assert!(is_same, "expected {place} to be {}", generated.display());
    }
}
