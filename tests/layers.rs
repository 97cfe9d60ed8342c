//! The layers hold: a module names only modules that `lib.rs` declares before it, and a driver crate is
//! named only where it is driven. One crate has no walls but this.

use std::fs;
use std::path::{Path, PathBuf};

use proc_macro2::{Delimiter, Ident, TokenStream, TokenTree};

/// Crates that talk to something outside, or are there for one thing, and the one place of each.
const DRIVERS: [(&str, &[&str]); 25] = [
    ("cryptoki", &["hardware/pkcs11"]),
    ("cryptoki_sys", &["hardware/pkcs11/calls"]),
    ("tss_esapi", &["hardware/tpm"]),
    ("rusqlite", &["store/sqlite"]),
    ("refinery", &["store/sqlite", "store/postgres/schema"]),
    ("tokio_postgres", &["store/postgres"]),
    ("deadpool_postgres", &["store/postgres"]),
    ("rustls", &["store/postgres/pool", "fetch/https", "http/tls", "client/tls"]),
    ("rustls_native_certs", &["store/postgres/pool", "fetch/https", "client/tls"]),
    ("reqwest", &["fetch/https", "client/connection"]),
    ("tokio_rustls", &["http/tls"]),
    (
        "rcgen",
        &[
            "app/dev/https",
            "app/development_key",
            "http/tls",
            "oauth/certificate",
            "oauth/registration/tests",
            "jose/foreign/tests",
        ],
    ),
    ("x509_parser", &["oauth/certificate"]),
    ("moka", &["oauth/access_token", "oauth/key_sets", "oauth/shared_tokens"]),
    ("governor", &["budget", "oauth/source_budgets", "oauth/attempts"]),
    ("axum", &["http"]),
    ("tonic", &["kubernetes"]),
    ("tonic_prost", &["kubernetes/api"]),
    ("prost", &["kubernetes/api"]),
    ("prost_types", &["kubernetes"]),
    ("ipnet", &["http/forwarded"]),
    ("clap", &["cli"]),
    ("toml", &["config"]),
    ("toml_edit", &["app/dev"]),
    ("prometheus_client", &["telemetry", "http/admin"]),
];

/// A file that grows beyond this many lines, its tests not counted, is two things.
const MOST_LINES: usize = 400;

#[test]
fn a_module_names_only_modules_declared_before_it() {
    let layers = layers();
    assert!(layers.len() > 10, "lib.rs declares its modules: {layers:?}");
    let sources = sources();
    assert!(sources.len() > 50, "{} files", sources.len());
    let breaches: Vec<String> = sources.iter().flat_map(|source| breaches(source, &layers)).collect();
    assert!(breaches.is_empty(), "\n{}", breaches.join("\n"));
}

#[test]
fn a_driver_crate_is_named_in_its_place_only() {
    for (driver, places) in DRIVERS {
        let users: Vec<String> =
            sources().iter().filter(|source| names_crate(&source.tokens, driver)).map(Source::path).collect();
        assert!(!users.is_empty(), "nobody uses {driver}");
        let strangers: Vec<&String> =
            users.iter().filter(|user| !places.iter().any(|place| user.starts_with(place))).collect();
        assert!(strangers.is_empty(), "{driver} belongs in {places:?}, and is named in {strangers:?}");
    }
}

#[test]
fn unsafe_code_is_in_the_one_audited_module() {
    let users: Vec<String> =
        sources().iter().filter(|source| names_keyword(&source.tokens, "unsafe")).map(Source::path).collect();
    assert_eq!(users, ["hardware/pkcs11/calls"]);
}

#[test]
fn no_file_grows_into_two_things() {
    for source in sources() {
        let lines = source.text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default().lines().count();
        assert!(lines <= MOST_LINES, "{} has {lines} lines without its tests", source.path());
    }
}

/// The scanner itself: each of these is a breach, however it is written.
#[test]
fn breaches_are_found_however_they_are_written() {
    let layers = ["clock", "store", "http"].map(str::to_owned);
    for text in [
        "use crate::http::listener;",
        "use crate::{clock, http};",
        "use super::super::http;",
        "fn f() { crate::http::g() }",
        "fn f() { format!(\"{}\", crate::http::NAME) }",
        "mod inner { use super::super::super::http; }",
    ] {
        let source = Source::new(&["store", "sqlite"], text);
        assert_eq!(breaches(&source, &layers), ["store/sqlite names http, a later layer"], "{text}");
    }
    for text in
        ["use crate::clock;", "use crate::{store, clock};", "use super::threads;", "/// [`crate::http`]\nfn f() {}"]
    {
        assert!(breaches(&Source::new(&["store", "sqlite"], text), &layers).is_empty(), "{text}");
    }
    for (text, name) in [("use crate::helpers;", "helpers"), ("use crate::*;", "*"), ("use crate::{*};", "*")] {
        let unknown = Source::new(&["clock"], text);
        assert_eq!(breaches(&unknown, &layers), [format!("clock names {name}, which lib.rs does not declare")]);
    }
}

/// A source file: its module path, its text, its tokens.
struct Source {
    module: Vec<String>,
    text: String,
    tokens: TokenStream,
}

impl Source {
    fn new(module: &[&str], text: &str) -> Self {
        let tokens = text.parse().expect("the source is Rust");
        Self { module: module.iter().map(|&name| name.to_owned()).collect(), text: text.to_owned(), tokens }
    }

    fn path(&self) -> String {
        self.module.join("/")
    }
}

/// The modules of `lib.rs`, in order.
fn layers() -> Vec<String> {
    let text = fs::read_to_string(source_folder().join("lib.rs")).expect("there is a lib.rs");
    let declared =
        text.lines().filter_map(|line| line.trim_start_matches("pub ").strip_prefix("mod ")?.strip_suffix(';'));
    declared.map(str::to_owned).collect()
}

fn sources() -> Vec<Source> {
    let mut files = Vec::new();
    collect(&source_folder(), &mut files);
    files.sort();
    let read = |path: PathBuf| {
        let module = path.strip_prefix(source_folder()).expect("below src").with_extension("");
        let module: Vec<&str> = module.iter().map(|part| part.to_str().expect("UTF-8")).collect();
        let text = fs::read_to_string(&path).expect("a readable file");
        (!matches!(module[..], ["lib" | "main"])).then(|| Source::new(&module, &text))
    };
    files.into_iter().filter_map(read).collect()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a readable folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            assert!(!path.ends_with("mod.rs"), "{} should be beside its folder", path.display());
            files.push(path);
        }
    }
}

fn source_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn breaches(source: &Source, layers: &[String]) -> Vec<String> {
    let position = |name: &str| layers.iter().position(|layer| layer == name);
    let path = source.path();
    let Some(own) = position(&source.module[0]) else {
        return vec![format!("{path} is of no layer that lib.rs declares")];
    };
    let mut named = Vec::new();
    name_layers(source.tokens.clone(), source.module.len(), &mut named);
    named.sort();
    named.dedup();
    let judge = |name: &String| match position(name) {
        Some(layer) if layer <= own => None,
        Some(_) => Some(format!("{path} names {name}, a later layer")),
        None => Some(format!("{path} names {name}, which lib.rs does not declare")),
    };
    named.iter().filter_map(judge).collect()
}

/// Collects what follows `crate::`, or as many `super::` as lead out of a module of that `depth`.
fn name_layers(tokens: TokenStream, depth: usize, named: &mut Vec<String>) {
    let trees: Vec<TokenTree> = tokens.into_iter().collect();
    let mut index = 0;
    while index < trees.len() {
        if let TokenTree::Group(group) = &trees[index] {
            let is_module_body = index >= 2 && is_word(&trees[index - 2], "mod");
            name_layers(group.stream(), depth + usize::from(is_module_body), named);
        }
        let mut supers = 0;
        let mut next = index;
        while is_word_and_colons(&trees, next, "super") {
            supers += 1;
            next += 3;
        }
        if is_word_and_colons(&trees, index, "crate") {
            next = index + 3;
        } else if supers < depth || supers == 0 {
            index = next.max(index + 1);
            continue;
        }
        match trees.get(next) {
            Some(TokenTree::Ident(name)) => named.push(name.to_string()),
            Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => {
                first_names(group.stream(), named)
            }
            // Everything, later layers included.
            Some(TokenTree::Punct(punct)) if punct.as_char() == '*' => named.push("*".to_owned()),
            _ => {}
        }
        index = next;
    }
}

/// The first name of each part of `{a::b, c}`.
fn first_names(tokens: TokenStream, named: &mut Vec<String>) {
    let mut at_start = true;
    for tree in tokens {
        match tree {
            TokenTree::Ident(name) if at_start => named.push(name.to_string()),
            TokenTree::Punct(punct) if at_start && punct.as_char() == '*' => named.push("*".to_owned()),
            TokenTree::Punct(punct) if punct.as_char() == ',' => {
                at_start = true;
                continue;
            }
            _ => {}
        }
        at_start = false;
    }
}

fn is_word(tree: &TokenTree, word: &str) -> bool {
    matches!(tree, TokenTree::Ident(name) if name == word)
}

fn is_word_and_colons(trees: &[TokenTree], index: usize, word: &str) -> bool {
    let is_colon = |tree: Option<&TokenTree>| matches!(tree, Some(TokenTree::Punct(punct)) if punct.as_char() == ':');
    trees.get(index).is_some_and(|tree| is_word(tree, word))
        && is_colon(trees.get(index + 1))
        && is_colon(trees.get(index + 2))
}

/// Whether a path begins with the crate `name`: `name::…`, not after another `::`.
fn names_crate(tokens: &TokenStream, name: &str) -> bool {
    let trees: Vec<TokenTree> = tokens.clone().into_iter().collect();
    (0..trees.len()).any(|index| match &trees[index] {
        TokenTree::Group(group) => names_crate(&group.stream(), name),
        _ => {
            let follows_colons =
                index >= 1 && matches!(&trees[index - 1], TokenTree::Punct(punct) if punct.as_char() == ':');
            let follows_path = follows_colons && index >= 3 && matches!(&trees[index - 3], TokenTree::Ident(_));
            is_word_and_colons(&trees, index, name) && !follows_path
        }
    })
}

fn names_keyword(tokens: &TokenStream, keyword: &str) -> bool {
    tokens.clone().into_iter().any(|tree| match &tree {
        TokenTree::Group(group) => names_keyword(&group.stream(), keyword),
        TokenTree::Ident(name) => *name == Ident::new(keyword, name.span()),
        _ => false,
    })
}
