# The targets that every module has. A module's Makefile sets what differs and includes this file:
#   BINARIES  name=package...   commands that `build` leaves in bin/ at the root of the repository
#   IMAGES    name=binary[,binary...]...   container images kubeprober/<name>:$(TAG), in the order in which they are built.
#             images/<name>/Dockerfile of the module is used where it is there, else hack/image/Dockerfile
#   NESTED    folders that are modules of their own, outside of the workspace; they are vetted, tested, linted and tidied with this one
#   ENVTEST   yes: the tests need a real API server
#   TESTPACKAGES   the packages that `test` tests, default all; for a module of which some need more than it gives
#   APP       the file deployment/$(APP).yaml that `deploy` applies
# It may add commands to `generate::` and `manifests::`, which have double colons.

SHELL := /usr/bin/env bash -o errexit -o nounset -o pipefail
.DEFAULT_GOAL := build

hack := $(patsubst %/make/,%,$(dir $(abspath $(lastword $(MAKEFILE_LIST)))))
root := $(patsubst %/hack,%,$(hack))
bin := $(root)/bin

TAG ?= v0.1.5
VERSION ?= $(TAG)
TESTFLAGS ?=
TESTPACKAGES ?= ./...
module_dir := $(notdir $(CURDIR))

left = $(firstword $(subst =, ,$(1)))
right = $(lastword $(subst =, ,$(1)))
# nested runs a command in each nested module.
nested = $(foreach m,$(NESTED),(cd $(m) && GOWORK=off $(1));)

.PHONY: build build-isolated test lint fmt tidy tidy-check generate manifests image image-names deploy undeploy

build: $(foreach b,$(BINARIES),build-$(call left,$(b))) ## Build the module, its commands into bin/.
	go build ./...

define build_binary
.PHONY: build-$(call left,$(1))
build-$(call left,$(1)):
	CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X main.version=$(VERSION)" -o $(bin)/$(call left,$(1)) $(call right,$(1))
endef
$(foreach b,$(BINARIES),$(eval $(call build_binary,$(b))))

build-isolated: ## Build and vet the module as its users do: without the workspace.
	GOWORK=off go build ./...
	GOWORK=off go vet ./...
	$(call nested,go vet ./...)

test: ## Run the tests with the race detector.
	$(if $(filter yes,$(ENVTEST)),assets=$$($(hack)/kube/envtest-assets.sh); export KUBEBUILDER_ASSETS=$$assets;) \
	CGO_ENABLED=1 go test -race $(TESTFLAGS) $(TESTPACKAGES)
	$(call nested,CGO_ENABLED=1 go test -race $(TESTFLAGS) ./...)

lint: ## Run the linters.
	golangci=$$($(hack)/tools/tool.sh golangci-lint); $$golangci run --config $(root)/.golangci.yml ./...; \
	$(call nested,$$golangci run --config $(root)/.golangci.yml ./...)

fmt: ## Format the code.
	golangci=$$($(hack)/tools/tool.sh golangci-lint); $$golangci fmt --config $(root)/.golangci.yml ./...; \
	$(call nested,$$golangci fmt --config $(root)/.golangci.yml ./...)

tidy: ## Update go.mod and go.sum.
	GOWORK=off go mod tidy
	$(call nested,go mod tidy)

tidy-check: ## Fail when go.mod or go.sum is not tidy.
	GOWORK=off go mod tidy -diff
	$(call nested,go mod tidy -diff)

generate:: ## Generate code.
	@:

manifests:: ## Generate manifests.
	@:

image: build ## Build the module's images.
	$(foreach i,$(IMAGES),TAG=$(TAG) $(hack)/image/build.sh $(module_dir) $(call left,$(i)) $(call right,$(i));)

image-names: ## Print the names of the module's images.
	@$(foreach i,$(IMAGES),echo kubeprober/$(call left,$(i)):$(TAG);)

deploy: ## Apply deployment/$(APP).yaml as it is to the current cluster.
	$(hack)/deploy/deploy.sh $(or $(APP),$(error the module $(module_dir) has nothing to deploy))

undeploy: ## Delete what deployment/$(APP).yaml names from the current cluster.
	$(hack)/deploy/undeploy.sh $(or $(APP),$(error the module $(module_dir) has nothing to deploy))
