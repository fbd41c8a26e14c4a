module github.com/kubeprober/kubeprober/hack/engine

go 1.26.0

require github.com/moby/sys/capability v0.5.0
