// Package lzip decompresses lzip files, which Guix' caches serve and Nix can write.
//
// A file is one or more members: a header of six bytes ("LZIP", version 1, the
// dictionary's size), an LZMA stream with the fixed properties lc=3, lp=0, pb=2
// that ends in a marker, and a trailer with the CRC-32 and the size of the data
// and the size of the member (lzip manual, "File format" and "Format of the
// LZMA stream in lzip files"). All of that is checked, and unlike the program
// lzip nothing is let pass behind the last member.
//
// [Reader] is the entry point. It works in the caller's goroutine, keeps its
// dictionary from file to file, and lets the dictionary grow with the data only:
// a small file that names a large one costs nothing. Nothing here compresses.
package lzip
