# run    sets everything up and serves a development mint on SoftHSM2, or on a TPM in software, and SQLite
# test   sets everything up and passes the tests
# crash  kills mints, keepers and the database at random under load, for longer than the tests do
# faults has every call into the hardware go wrong in every way, where the tests take a sample; STAGE names one of
#        Start, Restart, Exchange, Rotation
# bench  measures throughput, latency and memory against the raw rate of the hardware; PART names one of
#        its parts: tokens, sessions, floods, kubernetes, transit, logins, proofs, tls,
#        tpm, devices
# fuzz   makes up what strangers send and looks for what breaks, each target for SECONDS_EACH (60); TARGET
#        names one of fuzz/fuzz_targets
#
# For `run`: STATE is the folder to keep everything in, LISTEN the address, HARDWARE the
# device: softhsm or tpm; with TLS=1 it speaks HTTPS (see `mintkeep dev --help`).

.PHONY: run test crash faults bench fuzz format

run:
	scripts/install-packages run
	cargo run --release --locked -- dev $(if $(STATE),--state "$(STATE)") $(if $(LISTEN),--listen "$(LISTEN)") $(if $(HARDWARE),--hardware "$(HARDWARE)") $(if $(TLS),--tls)

test:
	scripts/install-packages test
	scripts/install-clients
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	cargo build --locked --bins
	if cargo nextest --version >/dev/null 2>&1; \
		then cargo nextest run --locked; \
		else cargo test --locked --lib --bins --tests --examples; \
	fi
	cargo test --locked --doc
	tests/quick-start

crash:
	scripts/install-packages test
	MINTKEEP_CRASH_KILLS=$(or $(KILLS),120) MINTKEEP_CRASH_CLIENTS=$(or $(CLIENTS),200) \
		cargo test --locked --release --test it crash:: -- --nocapture --test-threads 1

faults:
	scripts/install-packages test
	cargo build --locked --bins --examples
	MINTKEEP_FAULTS_EVERY=$(or $(EVERY),1) $(if $(STAGE),MINTKEEP_FAULTS_STAGE=$(STAGE)) cargo test --locked --test it sweep:: -- --nocapture

bench:
	scripts/install-packages test
	cargo build --locked --release --examples
	cargo bench --locked --bench throughput $(if $(PART),-- $(PART))

fuzz:
	scripts/install-packages run
	scripts/fuzz $(or $(SECONDS_EACH),60) $(TARGET)

format:
	cargo fmt
