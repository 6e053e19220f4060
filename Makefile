# The two commands are `make run` and `make test`; the others are parts of them or take longer.
# DATA=dir names a folder with the larger data sets; KILLS, SEED and MODEL_SEEDS lengthen or repeat runs.

.PHONY: run test bench demo fmt lint crash model simulate soak test-clients oracle

run:
	@scripts/run $(ARGS)

test:
	@DATA="$(DATA)" scripts/test

bench:
	@DATA="$(DATA)" scripts/bench

demo:
	@scripts/demo

fmt:
	cargo fmt --all

lint:
	@scripts/setup lint
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --features tests/planted-bugs -- -D warnings
	cargo deny check
	cargo test -p tests --test it tidy

# The kill loop, as long as it is worth waiting for.
crash:
	@scripts/setup test
	cargo build -p sql --bin elanus
	KILLS=$${KILLS:-200} cargo test -p tests --test it crash -- --nocapture

# Random operations against a naive twin, 1 000 seeds unless MODEL_SEEDS says otherwise.
model:
	MODEL_SEEDS=$${MODEL_SEEDS:-1000} cargo test --workspace --features tests/planted-bugs --test model -- --nocapture

# A whole node in one thread, with failing back ends, kills and a jumping clock, 1 000 seeds unless SEEDS says otherwise.
# SEED=n SEEDS=1 TRACE=1 shows one again.
simulate:
	SEEDS=$${SEEDS:-1000} cargo test --workspace --features tests/planted-bugs --test simulation nothing_acknowledged -- --nocapture

# The long runs, half an hour each at most: PART=kills|services|matrix|bank|model|simulation|flips picks one.
soak:
	@scripts/soak $(PART)

# Every client program of tests/clients, those of other languages included.
test-clients:
	@scripts/setup clients
	cargo build -p sql --bin elanus
	cargo test -p tests --test it -- drivers clients password
	scripts/test-clients

# PostgreSQL 16 with pgvector, to compare with.
oracle:
	@scripts/oracle start
