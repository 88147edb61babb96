# mod_wsgi_rs: `make run` and `make test` do all set-up themselves.
#
#   PYTHON=python3.13   the Python to build for (default: /usr/bin/python3 where there is one, because
#                       Apache's unprivileged user must be able to read it)
#   EXAMPLE=flask       make run: one of conf-examples/
#   APP=path            make run: your own script (WSGI or ASGI), or the folder of your application
#   PORT=8001           make run: another port than 8000
#   T=daemon/faults     run these tests: a file or a folder below tests/ (T=daemon/), or a part of a name (T=reload)
#   MPM=event,worker    the MPMs to test under
#   QUICK=1             make bench: three minutes, and no document is written
#   CASES=asgi-stream   make bench: these cases alone (bench/cases.py), and no document is written

PYTHON ?=
# Finds that Python when a recipe runs, not when make starts: `setup` may have just installed it.
WITH_PYTHON = scripts/with-python "$(PYTHON)"
VENV := .venv
MODULE := target/release/mod_wsgi_rs.so
# Four processes on two processors: tests mostly wait for servers to start and stop.
PYTEST := $(VENV)/bin/python -m pytest -n 6
# T with a slash is a path: daemon/ is tests/daemon, daemon/faults is tests/daemon/test_faults.py.
SELECTED = $(if $(findstring /,$(T)),$(patsubst %/,tests/%,$(filter %/,$(T))) $(foreach t,$(filter-out %/,$(T)),tests/$(dir $t)test_$(notdir $t).py),$(if $(T),-k '$(T)') tests)
DESTDIR ?=
# Empty where packages are built, by tools that have installed what is needed.
SETUP := yes

NAME_DAEMON = $(WITH_PYTHON) sh -c 'ln -f target/release/wsgi-daemon target/release/wsgi-daemon-$$PYTHON_VERSION'
# A cargo run of its own: the feature, which leaves Python's library out, holds for all that is built with it.
BUILD_EXTENSION = $(WITH_PYTHON) cargo build --release --locked -p wsgi-extension --features extension
NAME_EXTENSION = $(WITH_PYTHON) sh -c 'ln -f target/release/libwsgi_host.so "target/release/wsgi_host$$EXT_SUFFIX"'

.PHONY: help setup build build-python daemon run test unit pytest oracle check structure miri sanitize soak fuzz uncounted bench profile install uninstall deb rpm wheel several-machines test-readme test-wheel test-deb clean

help: ## show this
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

setup: ## install missing system packages (apt-get or dnf, with sudo)
	@$(if $(SETUP),PYTHON="$(PYTHON)" scripts/setup,:)

build: setup ## build the module, and what runs daemon mode for one version of Python, and the command
	@$(WITH_PYTHON) scripts/check-python shared
	$(WITH_PYTHON) cargo build --release --locked -p mod_wsgi_rs -p wsgi-daemon -p wsgi-command
	@ln -f target/release/libmod_wsgi_rs.so $(MODULE)
	@$(NAME_DAEMON)
	$(BUILD_EXTENSION)
	@$(NAME_EXTENSION)

build-python: setup ## build the extension for one more Python of any kind, and leave the module as it is (PYTHON=python3.13)
	@$(WITH_PYTHON) scripts/check-python
	$(BUILD_EXTENSION)
	@$(NAME_EXTENSION)

daemon: setup ## build the daemon program for one more Python with a shared library (PYTHON=python3.13)
	@$(WITH_PYTHON) scripts/check-python shared
	$(WITH_PYTHON) cargo build --release --locked -p wsgi-daemon
	@$(NAME_DAEMON)

run: build ## start a private Apache on http://127.0.0.1:8000/ in the foreground (EXAMPLE=flask, APP=path/to/wsgi.py, PORT=8001)
	@exec $(WITH_PYTHON) scripts/run

$(VENV)/.ready: tests/requirements.txt | setup
	$(WITH_PYTHON) sh -c '"$$PYTHON" -m venv $(VENV)'
	$(VENV)/bin/pip install --quiet --disable-pip-version-check -r tests/requirements.txt
	@touch $@

test: build unit pytest ## everything: unit tests, then behaviour through a real httpd (T=daemon/faults, MPM=event,worker)

unit: setup ## Rust unit tests
	$(WITH_PYTHON) cargo test --workspace --locked

pytest: build $(VENV)/.ready ## behaviour tests only
	$(WITH_PYTHON) $(PYTEST) $(if $(MPM),--mpm $(MPM)) $(SELECTED)

$(VENV)-oracle/.ready: tests/requirements-oracle.txt | setup
	$(WITH_PYTHON) sh -c '"$$PYTHON" -m venv $(VENV)-oracle'
	$(VENV)-oracle/bin/pip install --quiet --disable-pip-version-check -r tests/requirements-oracle.txt
	@touch $@

oracle: setup $(VENV)/.ready $(VENV)-oracle/.ready ## the same behaviour tests against mod_wsgi itself
	@mkdir -p /var/run/apache2 # the directory of mod_wsgi's sockets on Debian
	WSGI_UNDER_TEST=theirs $(WITH_PYTHON) $(PYTEST) $(SELECTED)

check: setup $(VENV)/.ready ## formatting, lints, licences (needs rustfmt and clippy)
	@scripts/setup check
	cargo fmt --all --check
	$(WITH_PYTHON) cargo clippy --workspace --all-targets --locked -- -D warnings
	$(WITH_PYTHON) cargo clippy --no-default-features --locked -- -D warnings
	scripts/deny
	$(VENV)/bin/ruff check tests bench python scripts
	$(VENV)/bin/ruff format --check tests bench python scripts

structure: ## figures of the source: sizes, circles of files, unsafe, what an option touches
	@cd tests && python3 -m harness.rust_source

miri: ## unit tests of pure code and of configuration slots under Miri (TOOLCHAIN=+nightly; needs its component miri)
	MIRIFLAGS=-Zmiri-disable-isolation PROPTEST_CASES=4 cargo $(TOOLCHAIN) miri test --locked -p wsgi -p fastcgi -p scoreboard --lib
	MIRIFLAGS=-Zmiri-disable-isolation PROPTEST_CASES=4 cargo $(TOOLCHAIN) miri test --locked -p mod_wsgi_rs --lib -- \
	    module_config:: config:: a_boxed_value request_path:: trusted_proxy:: single_application::

sanitize: build $(VENV)/.ready ## the behaviour tests that go through C, under valgrind
	$(WITH_PYTHON) $(VENV)/bin/python tests/under_valgrind.py

soak: build $(VENV)/.ready ## restarts, faults and memory for longer
	LIMITS=1 $(WITH_PYTHON) $(VENV)/bin/python -m pytest tests/soak.py tests/command/test_browser.py tests/observe/test_status.py tests/observe/test_status_stacks.py tests/observe/test_status_stuck_groups.py tests/asgi/test_websocket_scale.py tests/asgi/test_websocket_fuzz.py tests/asgi/test_autobahn.py $(if $(T),-k '$(T)')

fuzz: setup ## fuzz the wire format, response heads, scoreboard, status page and frames of WebSockets, each target for SECONDS=60
	@test -x target/tools/bin/cargo-fuzz || cargo install --quiet --locked --root target/tools cargo-fuzz
	@for target in server client head scoreboard status websocket; do \
	    longest=; test $$target != scoreboard || longest=-max_len=65536; \
	    PATH="$(CURDIR)/target/tools/bin:$$PATH" RUSTC_BOOTSTRAP=1 $(WITH_PYTHON) cargo fuzz run $$target -- $$longest \
	        -max_total_time=$(or $(SECONDS),60) -print_final_stats=1 -verbosity=0 || exit 1; \
	done

$(VENV)-bench/.ready: bench/requirements.txt | setup
	$(WITH_PYTHON) sh -c '"$$PYTHON" -m venv $(VENV)-bench'
	$(VENV)-bench/bin/pip install --quiet --disable-pip-version-check wheel
	@lacking=; for package in $$(sed '/^#/d' bench/requirements.txt); do \
	    $(VENV)-bench/bin/pip install --quiet --disable-pip-version-check "$$package" || lacking="$$lacking $$package"; \
	done; \
	if [ -z "$$lacking" ]; then touch $@; else echo "cannot be installed and will not be measured:$$lacking" >&2; fi

# The module without the counting of requests, with the programs of daemon mode beside it.
uncounted: build
	$(WITH_PYTHON) cargo build --release --locked -p mod_wsgi_rs --features uncounted --target-dir target/uncounted
	@ln -f target/uncounted/release/libmod_wsgi_rs.so target/uncounted/release/mod_wsgi_rs.so
	@ln -f target/release/wsgi-daemon-manager target/release/wsgi-daemon-[0-9]* target/release/wsgi_host.*.so target/uncounted/release/

bench: build $(if $(QUICK),,uncounted) $(VENV)-bench/.ready ## compare with the alternatives on this machine (QUICK=1: the main figures)
	@scripts/setup bench
	@$(WITH_PYTHON) $(VENV)-bench/bin/python -m bench

profile: build $(VENV)-bench/.ready ## count instructions per request (FUNCTIONS=1, CALLGRIND=1, CONTENDERS=ours-daemon)
	@scripts/setup bench
	@$(WITH_PYTHON) $(VENV)-bench/bin/python -m bench.profile

install: ## install the module and the command into the directories that apxs names (DESTDIR=)
	@scripts/install "$(DESTDIR)"

uninstall: ## remove the installed files
	@scripts/uninstall "$(DESTDIR)"

deb: ## build Debian packages into target/debian/
	@$(if $(SETUP),PYTHON="$(PYTHON)" scripts/setup deb,:)
	scripts/deb

rpm: ## build Fedora packages into target/rpm/ (rpmbuild)
	@$(if $(SETUP),PYTHON="$(PYTHON)" scripts/setup,:)
	scripts/rpm

wheel: setup ## build the wheel for one Python into target/wheels/ (PYTHON=python3.13)
	@$(WITH_PYTHON) scripts/check-python
	@$(WITH_PYTHON) scripts/wheel

several-machines: ## take hosts away from HAProxy, nginx, Caddy and Apache in network namespaces (root); docs/several-machines.md has the tables
	@$(VENV)/bin/python tests/several_machines.py

test-readme: ## carry out the README's first commands in a chroot, from nothing to a page (root, debootstrap, network)
	@scripts/test-readme

test-wheel: ## install and use the wheel of `make wheel` in a chroot without a compiler (root, debootstrap)
	@scripts/test-wheel

test-deb: ## install, use, upgrade, remove and purge the packages of `make deb` in a chroot (root, debootstrap)
	@scripts/test-deb

clean: ## remove everything that was built
	cargo clean
	rm -rf $(VENV) $(VENV)-oracle $(VENV)-bench .httpd
