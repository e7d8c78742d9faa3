// Package watch says when files change: schemas, configuration, certificates.
// It knows nothing of what they hold.
//
// On the way of a request it is nowhere. It survives editors that rename over
// a file, new subfolders, folders that come later, and Kubernetes volumes,
// whose files change because a symlink above them does. It must not read what
// it watches; whoever is called does.
package watch
