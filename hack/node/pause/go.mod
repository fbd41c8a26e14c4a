module github.com/kubeprober/kubeprober/hack/node/pause

go 1.26.0
