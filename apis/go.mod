module github.com/kubeprober/kubeprober/apis

go 1.26.0
