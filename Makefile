# The two commands of the README: `make deploy` and `make test`. Each target is a thin line over a documented command.
SHELL := /bin/bash
MODE ?= gevent
SUDO := $(if $(filter 0,$(shell id -u)),,sudo)
export PATH := $(CURDIR)/.venv/bin:$(PATH)
# By name, because Ansible ignores the ansible.cfg of a world-writable checkout, as on many CI runners.
export ANSIBLE_CONFIG := $(CURDIR)/ansible.cfg

comma := ,
HOSTS := app1:bookworm build1:bookworm:build
# The first is published, so that a browser on this machine reaches it.
FLEET := lb1:bookworm:load_balancer lb2:trixie:load_balancer web1:bookworm web2:trixie web3:bookworm \
  build-bookworm:bookworm:build build-trixie:trixie:build
IN_FLEET := --inventory inventory/fleet
BENCH := bench1:bookworm bench-build:bookworm:build bench-lb:bookworm:load_balancer
URL := http://127.0.0.1:8040
SITE := https://localhost:8443

.PHONY: help deploy fleet fleet-down verify compare compare-clients bench test test-full test-quick setup packages fleet-needs tests-need sandbox lock clean distclean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' Makefile | expand -t 24

deploy: sandbox ## set up, start the sandbox host, deploy (MODE=gevent or threads), load-test
	@ansible-playbook deploy.yml -e mode=$(MODE)
	@ansible-playbook playbooks/verify.yml -e mode=$(MODE)
	@printf '\n  %s serves in %s mode (Swagger UI at /, health at /healthz).\n' '$(URL)' '$(MODE)'
	@printf '  What the load test measured: %s\n\n' reports/verify/index.html

fleet: setup fleet-needs ## two load balancers and three application hosts, Debian 12 and 13: deploy, and load-test over HTTPS
	@python3 -m sandbox up $(FLEET) --inventory inventory/fleet/hosts.yml \
	  --publish 127.0.0.1:8081:8081 --publish 127.0.0.1:8443:8443
	@ansible-playbook $(IN_FLEET) deploy.yml -e mode=$(MODE)
	@ansible-playbook $(IN_FLEET) playbooks/load_balancer.yml
	@ansible-playbook $(IN_FLEET) playbooks/verify.yml -e mode=$(MODE)
	@ansible-playbook $(IN_FLEET) playbooks/status.yml
	@printf '\n  %s serves in %s mode (Swagger UI at /). Its certificate is self-signed.\n' '$(SITE)' '$(MODE)'
	@printf '  What the load test measured: %s\n' reports/verify/index.html
	@printf '  Another command: %s\n\n' 'ansible-playbook $(IN_FLEET) playbooks/maintain.yml -e action=reboot'

fleet-down: ## remove these hosts
	@python3 -m sandbox down $(foreach host,$(FLEET),$(firstword $(subst :, ,$(host))))

verify: setup ## load-test the deployed application; the results are in reports/verify
	@ansible-playbook playbooks/verify.yml

compare: sandbox ## gevent, threads and threads = 3000, and the last with uWSGI as released, on the sandbox host (about forty minutes)
	@ansible-playbook deploy.yml -e mode=$(MODE)
	@ansible-playbook playbooks/compare.yml

compare-clients: sandbox ## a gevent client against an asyncio client, in turns
	@ansible-playbook deploy.yml -e mode=$(MODE)
	@ansible-playbook playbooks/compare_clients.yml

bench: setup fleet-needs ## the same application under several servers, and deploys to 1 to 1,000 hosts (about two hours)
	@mkdir -p reports/bench
	@python3 -m sandbox up $(BENCH) --inventory reports/bench/sandbox.yml
	@ansible-playbook --inventory reports/bench/sandbox.yml benchmarks/servers.yml
	@python3 -m sandbox down bench1 bench-lb
	@python -m benchmarks.deploys
	@python -m benchmarks.fleet
	@python -m benchmarks.results

test: setup tests-need ## everything: lint, unit tests, real hosts
	@python -m tools.check quick hosts

test-full: setup tests-need ## the same, in both modes on both distributions, and docs/OPERATIONS.md from it
	@FLASKOPS_FULL=1 python -m tools.check quick hosts matrix

test-quick: setup tests-need ## lint and unit tests, under two minutes
	@python -m tools.check quick

setup: packages .venv/.complete

# A mirror that stops in the middle can keep apt waiting for ever.
UPDATE = tools/step "apt: package lists" $(SUDO) timeout 300 apt-get update
# Install Debian packages that are missing: their names, and what for.
define install
	@missing="$$(echo $(1))"; [ -z "$$missing" ] || { \
	  { $(UPDATE) || $(UPDATE); } && \
	  tools/step "apt: $$missing$(2)" $(SUDO) env DEBIAN_FRONTEND=noninteractive \
	    apt-get install --yes --no-install-recommends $$missing; }
endef
# The package of a command, where it is missing.
package = $$(command -v $(1) >/dev/null || echo $(2))

packages:
	$(call install,$$(python3 -m sandbox packages --missing) $(call package,ab,apache2-utils) \
	  $$(python3 -c 'import ensurepip' 2>/dev/null || echo python3-venv))

fleet-needs: packages
	$(call install,$(call package,h2load,nghttp2-client))

tests-need: packages
	$(call install,$(call package,chromium,chromium) $(call package,wrk,wrk) $(call package,h2load,nghttp2-client) \
	  $(call package,curl,curl),$(comma) for the tests)

.venv/.complete: requirements/dev.txt | packages
	@rm -rf .venv
	@tools/step "python: virtual environment" python3 -m venv .venv
	@tools/step "python: Ansible and the test tools (about a minute)" \
	  .venv/bin/pip install --disable-pip-version-check --no-compile --require-hashes --requirement requirements/dev.txt
	@touch $@

sandbox: setup ## start the built-in hosts
	@python3 -m sandbox up $(HOSTS) --publish 127.0.0.1:8040:8040

lock: setup ## renew every lock from its .in file
	@.venv/bin/python -m tools.lock

clean: ## remove the sandbox hosts with every trace, and the reports
	@python3 -m sandbox clean
	@rm -rf reports .ansible .molecule

distclean: clean ## and the caches: images, artifacts, the virtual environment
	@python3 -m sandbox clean --images
	@rm -rf .venv "$${XDG_CACHE_HOME:-$$HOME/.cache}/flaskops"
