module github.com/kubeprober/kubeprober/e2e

go 1.26.0
