// Package lzma decompresses xz and lzip files: in xz are most of the NARs in Nix' caches, in lzip many of those in Guix'.
//
// Both formats hold LZMA, a stream of symbols (literals and matches) that an adaptive
// binary range coder has written; there is no specification of it but the text
// lzma-specification.txt of the LZMA SDK. It is decoded here by one decoder, written for speed:
//
//	input    the file, a piece at a time
//	decoder  symbols → dictionary; decode is the loop, models what it learns
//	chunks   LZMA2: chunks of LZMA, and of bytes as they are → data
//	filter   what xz may put over LZMA2
//	XZReader, LzipReader   the two formats
//
// [XZReader] reads "The .xz File Format" (version 1.2.1): streams one behind the other with their padding, any number of
// blocks, all sizes and the index compared with what is there, the checks none, CRC32, CRC64 and SHA-256,
// and the filters LZMA2, delta and x86. The other filters, which nobody puts over NARs, are refused by name.
//
// [LzipReader] reads members one behind the other: a header of six bytes ("LZIP", version 1, the
// dictionary's size), an LZMA stream with the properties lc=3, lp=0, pb=2 that ends in a marker, and a trailer with
// CRC-32 and size of the data and size of the member (lzip manual, "File format"). Unlike
// the program lzip it lets nothing pass behind the last member.
//
// Both work in the caller's goroutine and keep their dictionary from file to file. The dictionary grows with the data
// only: a small file that names a large one costs nothing. Errors don't name the format. Nothing here compresses.
package lzma
