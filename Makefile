# Kubeprober's targets. Each module has its own (build, test, lint, ...: hack/make/module.mk); these fan out to them.
# `make help` lists them.

SHELL := /usr/bin/env bash -o errexit -o nounset -o pipefail
.DEFAULT_GOAL := help

# In the order in which they import each other.
MODULES := apis tunnel master agent kubectl-probe probers e2e
# Modules with Go code of our own that are not in the workspace: those of hack/, and a checker as its author would write it.
HACK_MODULES := hack/engine hack/node/pause hack/tools/crdtrim e2e/checkers/go
# e2e ships nothing.
IMAGE_MODULES := $(filter-out e2e,$(MODULES))

# fan runs a target in every module of a list, all of them even if one fails, and names those that failed.
fan = @failed=; for m in $(2); do echo "--- $$m: $(1)"; $(MAKE) --no-print-directory -C $$m $(1) || failed+=" $$m"; done; \
	[[ -z $$failed ]] || { echo "error: make $(1) failed in$$failed" >&2; exit 1; }

.PHONY: help
help: ## Show the targets.
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} /^[a-z0-9-]+:.*## / {printf "  %-18s %s\n", $$1, $$2}' Makefile

##@ Develop

.PHONY: build build-isolated test test-hack lint fmt tidy
build: ## Build all modules; commands go to bin/.
	$(call fan,build,$(MODULES))

build-isolated: ## Build and vet every module as its users do: without the workspace.
	$(call fan,build-isolated,$(MODULES))

# Two modules at a time: the suites mostly wait for API servers.
test: envtest test-hack ## Run the unit and envtest suites of all modules with the race detector.
	@$(MAKE) --no-print-directory --keep-going -j 2 -O $(addprefix test-,$(MODULES))

.PHONY: $(addprefix test-,$(MODULES))
$(addprefix test-,$(MODULES)): test-%:
	@echo "--- $*: test"; $(MAKE) --no-print-directory -C $* test

test-hack:
	@for m in $(HACK_MODULES); do (cd $$m && GOWORK=off go test -race $(TESTFLAGS) ./...); done

lint: ## Run the linters over all modules.
	$(call fan,lint,$(MODULES))
	@golangci=$$(hack/tools/tool.sh golangci-lint); for m in $(HACK_MODULES); do \
		echo "--- $$m: lint"; (cd $$m && GOWORK=off $$golangci run --config $(CURDIR)/.golangci.yml ./...); done

fmt: ## Format the code of all modules.
	$(call fan,fmt,$(MODULES))

tidy: ## Update go.mod and go.sum of all modules.
	$(call fan,tidy,$(MODULES))

##@ Generate

.PHONY: generate manifests render verify
generate: ## Generate code.
	$(call fan,generate,$(MODULES))

manifests: ## Generate CRDs and other manifests.
	$(call fan,manifests,$(MODULES))

render: ## Render deployment/*.yaml from the config/ folders of the modules.
	hack/deploy/render.sh

verify: ## Fail when something generated is not fresh, and say what.
	hack/verify.sh

##@ Ship

.PHONY: images deploy undeploy
images: ## Build all container images into the local Docker engine.
	$(call fan,image,$(IMAGE_MODULES))

deploy: ## Deploy APP (probe-master, probe-agent, probe-agent-standalone) to the current cluster.
	hack/deploy/deploy.sh "$(APP)"

undeploy: ## Remove APP from the current cluster.
	hack/deploy/undeploy.sh "$(APP)"

##@ Real Kubernetes

.PHONY: envtest kube engine node-image
envtest: ## Ensure etcd, kube-apiserver and kubectl for the tests (built once, cached).
	hack/kube/build.sh envtest

kube: ## Ensure all Kubernetes binaries (built once, cached).
	hack/kube/build.sh envtest
	hack/kube/build.sh node

engine: ## Ensure a Docker engine.
	hack/engine/up.sh

node-image: engine ## Ensure the node image for kind clusters.
	hack/node/image.sh

.PHONY: demo demo-down e2e
demo: ## Create a master and two managed clusters, and walk through what Kubeprober does.
	hack/demo/up.sh

demo-down: ## Delete the demo's clusters.
	hack/demo/down.sh

e2e: ## Run the end-to-end suite on kind clusters of its own.
	$(MAKE) --no-print-directory -C e2e e2e

.PHONY: clean
clean: ## Delete bin/. The cache of toolchains stays: ~/.cache/kubeprober or KUBEPROBER_CACHE.
	rm -rf bin
