module github.com/kubeprober/kubeprober/probers

go 1.26.0
