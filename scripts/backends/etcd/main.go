// A real etcd, started by scripts/services. Its own module cannot be installed by name (it replaces modules), so
// this one depends on it.
package main

import (
	"os"

	"go.etcd.io/etcd/server/v3/etcdmain"
)

func main() { etcdmain.Main(os.Args) }
