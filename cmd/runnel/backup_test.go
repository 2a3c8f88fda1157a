package main

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"strings"
	"testing"
)

func TestBackupThatIsCutOff(t *testing.T) {
	// What a server sends, up to some byte: never taken for whole.
	var whole bytes.Buffer
	tw := tar.NewWriter(&whole)
	add := func(name, text string) {
		if err := tw.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o600, Size: int64(len(text))}); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(tw, text); err != nil {
			t.Fatal(err)
		}
		if err := tw.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	add("FORMAT", "format 1\n")
	before := whole.Len()
	const files = `{"files": [{"name": "FORMAT", "size": 9, "sha256": "%s"}]}`
	add(manifestName, fmt.Sprintf(files, "x"))
	_, err := extract(bytes.NewReader(whole.Bytes()), t.TempDir())
	if err == nil || !strings.Contains(err.Error(), "FORMAT is not what was sent") {
		t.Errorf("with another sum: got %v", err)
	}
	whole.Truncate(before)
	tw = tar.NewWriter(&whole)
	sum := sha256.Sum256([]byte("format 1\n"))
	add(manifestName, fmt.Sprintf(files, hex.EncodeToString(sum[:])))
	if err := tw.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := extract(bytes.NewReader(whole.Bytes()), t.TempDir()); err != nil {
		t.Errorf("whole: %v", err)
	}
	end := bytes.LastIndexByte(whole.Bytes(), '}') // of the manifest
	for n := 0; n < end; n += 37 {
		if _, err := extract(bytes.NewReader(whole.Bytes()[:n]), t.TempDir()); err == nil {
			t.Errorf("%d of %d bytes were taken for whole", n, whole.Len())
		}
	}
	// The end of a tar without the manifest.
	var without bytes.Buffer
	without.Write(whole.Bytes()[:before])
	without.Write(make([]byte, 1024))
	if _, err := extract(&without, t.TempDir()); err == nil || !strings.Contains(err.Error(), "ended early") {
		t.Errorf("without a manifest: got %v", err)
	}
}

func TestBackupThatLeadsOut(t *testing.T) {
	for _, name := range []string{"../out", "/tmp/out", "a/../../out"} {
		var b bytes.Buffer
		tw := tar.NewWriter(&b)
		if err := tw.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o600}); err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		if _, err := extract(&b, dir); err == nil || strings.Contains(err.Error(), "ended early") {
			t.Errorf("%s: got %v", name, err)
		}
	}
}
