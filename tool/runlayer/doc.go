// Package runlayer runs a program of an image over the image, and makes a layer
// of what the program changed: what RUN is in a Dockerfile, and runAsRoot, fakeRootCommands and extraCommands in nixpkgs' dockerTools.
//
// [Write] is the entry point, [Spec] says what is run. A program that calls it calls [Main] first of all, since it
// is started again, twice, as the processes below.
//
//	Write  reads the layers (package flatten), sends one tar, waits, removes what was on disk
//	 └ init   in namespaces of its own: unpacks the tar, runs the program, compares, writes the layer (package layer)
//	    └ exec   in the image's root, without privileges that it needs no more: becomes the program
//
// # The root
//
// The image is unpacked into a folder of its own, and the program runs right in it. There is no overlay: what a program
// sees would depend on the kernel and on the file system below (hard links that come apart, directories that can't be
// renamed), and so would the layer; nor can an overlay be put on another one, which is what the disks of most containers are. The unpacked copy is there anyway.
//
// In mount, PID, network, IPC and UTS [namespaces] the program has a root that it can't leave, no network but a loopback, its own /proc, a
// /dev with null, zero, full, random, urandom and tty, a fixed host name, and it ends with all that it has started. Who is not
// root gets a user namespace as well, with the ids of /etc/subuid where newuidmap can give them, else with one id. Where
// namespaces are refused, root has chroot(2): then there is no /proc, and the host name is the host's; a filter of system calls keeps the network
// away, and the machine's processes from being traced, limited or killed all together. That they aren't killed one by one takes Landlock: a
// filter can't tell one number from another. Where nothing can be had, the error says what forbids it.
//
// # The layer
//
// What is different afterwards is in the layer: entries whose type, contents, mode, owner, target or attributes are
// others than before, with the directories above them, and a whiteout for what is gone. Something written anew as it was
// is no change, and times are none: all are one. Entries are in the order of package filelayer: by component, bytewise, in each directory whiteouts first. So the
// layer doesn't depend on where it was made, nor by which of the ways above; as far as the program itself does the same
// each time, it is the same bytes.
//
// In a user namespace with one id all files are the program's own. Files that the image has of others keep them in the
// layer, unless they are made anew; giving a file to somebody else, or running as another user, fails there.
//
// [namespaces]: https://man7.org/linux/man-pages/man7/namespaces.7.html
package runlayer
