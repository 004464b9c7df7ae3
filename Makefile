# `make` lists the targets: the text after ## in each target's line.
python := .venv/bin/python
install := -m pip install --quiet --require-hashes -r
# Trace ids and digests in the docs are as random as secrets.
no_digests := --disable-plugin HexHighEntropyString --disable-plugin Base64HighEntropyString

.PHONY: help demo console test verify lint docs proto check bench soak fuzz lock go typescript conformance java screenshots
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.venv/ready: requirements/dev.txt client/pyproject.toml server/pyproject.toml
	python3 -m venv .venv
	$(python) $(install) $<
	$(python) -m pip install --quiet --no-deps --no-build-isolation -e ./client -e ./server
	touch $@

demo: .venv/ready ## kill a workflow twice, resume it and compare the results
	@$(python) -m examples.demo

console: .venv/ready ## show a store with damage, a fork and a deletion in the console, at port 7434
	@$(python) -m examples.console

test: .venv/ready ## run every test, with a small budget for the verification and the installations
	@$(python) tools/run_tests.py small

verify: .venv/ready ## run the verification and the installations in full
	@$(python) tools/run_tests.py full -m verification

lint: .venv/ready ## check formatting, lint, types, import directions, generated code and secrets
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mypy
	.venv/bin/lint-imports --no-cache
	$(python) tools/async_to_sync.py --check
	$(python) tools/copy_version.py --check
	$(python) tools/generate_reasons.py --check
	$(python) tools/lock.py --check
	git ls-files -z ':!requirements' ':!tests' | xargs -0 .venv/bin/detect-secrets-hook $(no_digests)
	.venv/bin/hadolint deploy/Dockerfile
	.venv/bin/check-jsonschema --builtin-schema vendor.compose-spec deploy/compose.yaml
	.venv/bin/check-jsonschema --builtin-schema vendor.github-issue-forms .github/ISSUE_TEMPLATE/defect.yml .github/ISSUE_TEMPLATE/proposal.yml

docs: .venv/docs-ready ## build the documentation into site/
	NO_MKDOCS_2_WARNING=1 $(python) -m mkdocs build --strict

proto: .venv/ready ## generate the stubs from proto/
	tools/generate_stubs.sh
	$(python) tools/generate_reasons.py
	if command -v go >/dev/null; then clients/go/generate.sh && cd clients/go && go generate ./holdfast; fi

lock: .venv/ready ## resolve requirements/ again (UPGRADE=1: with the newest versions that the groups allow)
	$(python) tools/lock.py $(if $(UPGRADE),--upgrade)

screenshots: .venv/ready ## take the pictures of the console in docs/guides/console
	$(python) -m tools.screenshots

conformance: .venv/ready ## hold each client whose tools are installed to the rules of docs/clients.md
	@GRPC_VERBOSITY=NONE $(python) -m conformance --mutants --report -

go: .venv/ready ## check, lint and test the Go client, with its example
	clients/go/check.sh

typescript: .venv/ready ## check, build and test the TypeScript client and LangGraph.js, with examples
	clients/typescript/check.sh

java: .venv/ready ## check, lint and test the Java client, with its example
	clients/java/check.sh

bench: .venv/bench-ready ## measure Holdfast beside other stores and print ratios
	$(python) -m benchmarks

soak: .venv/ready ## run load, kills and collections on both stores, then an audit (SOAK_SECONDS on each, 300)
	$(python) -m tests.verification.soak --seconds $(or $(SOAK_SECONDS),300)

fuzz: .venv/fuzz-ready ## look for inputs that break a parser (FUZZ_SECONDS for each, 60)
	$(python) -m tests.verification.fuzz --seconds $(or $(FUZZ_SECONDS),60)

.venv/fuzz-ready: requirements/fuzz.txt .venv/ready
	$(python) $(install) $<
	touch $@

.venv/docs-ready: requirements/docs.txt .venv/ready
	$(python) $(install) $<
	touch $@

.venv/engines-ready: requirements/engines.txt .venv/ready
	$(python) $(install) $<
	touch $@

# Google ADK and CrewAI exclude each other.
.venv/adk-ready: requirements/adk.txt .venv/ready
	python3 -m venv .venv/adk
	.venv/adk/bin/python $(install) $<
	.venv/adk/bin/python -m pip install --quiet --no-deps -e ./client -e ./server
	touch $@

.venv/bench-ready: requirements/bench.txt .venv/ready
	$(python) $(install) $<
	touch $@

check: lint ## run the checks that CI runs before the tests
	tools/generate_stubs.sh 2>/dev/null
	git diff --exit-code -- client/holdfast/v1 server/holdfast_server/layout
