module github.com/kubeprober/kubeprober/tunnel

go 1.26.0
