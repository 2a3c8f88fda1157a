// Package seal keeps short values so that only who has the server's key reads
// them (docs/adr/0020-inside-a-function.md).
//
// A value is sealed with AES-256-GCM, under a data key of its own that HKDF
// makes of the server's key and of a salt. It is bound to what it is for, its
// context: in another place it does not open.
//
// A sealed value is
//
//	version, 1 byte | id of the key, 8 bytes | salt, 32 bytes | ciphertext and tag
//
// A key file holds keys, one a line, each 32 bytes in base64; lines that begin
// with # are comments. The first key seals, all open. So a key is changed by a
// new first line, and the old one goes when nothing is sealed with it any more:
// [Ring.Current].
package seal
