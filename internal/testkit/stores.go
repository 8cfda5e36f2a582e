package testkit

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// ObjectStores are the schemes of which ObjectStore knows servers.
var ObjectStores = []string{"s3", "gs", "azblob"}

// ObjectStore starts a server of an object store with an empty bucket of that name, until the end of the test, sets
// what other processes need for it in the environment and gives its address, and what URLs of the scheme end with in
// this one. Google's and Azure's are emulators. Without a server the test is skipped, aloud.
func ObjectStore(t testing.TB, scheme, bucket string) (address, parameters string) {
	t.Helper()
	switch scheme {
	case "gs":
		address = google(t, bucket)
	case "azblob":
		address = azure(t, bucket)
	default:
		endpoint := S3(t, bucket)
		t.Setenv("AWS_ENDPOINT_URL", endpoint)
		address = strings.TrimPrefix(endpoint, "http://")
	}
	return address, Reached(scheme, address)
}

// Reached is what URLs end with to reach the server of an object store at an address.
func Reached(scheme, address string) (parameters string) {
	switch scheme {
	case "s3":
		return "?endpoint=http://" + address
	case "azblob":
		return "?protocol=http&localemu=true&domain=" + address
	}
	return "" // STORAGE_EMULATOR_HOST has it
}

// google starts fake-gcs-server.
func google(t testing.TB, bucket string) (address string) {
	folder := t.TempDir()
	if err := os.Mkdir(filepath.Join(folder, bucket), 0o755); err != nil {
		t.Fatal(err)
	}
	address = FreeAddress(t)
	emulator(t, "VITFT_GCSSERVER", address, "-scheme", "http", "-backend", "filesystem", "-filesystem-root", folder,
		"-log-level", "error", "-public-host", address, "-host", "127.0.0.1", "-port",
		port(address))
	t.Setenv("STORAGE_EMULATOR_HOST", address)
	return address
}

// AzureCredentials sets those that all tests of a process have, since the driver reads them once.
func AzureCredentials(t testing.TB) (account, secret string) {
	account, secret = "somebody", "a-secret-that-nobody-sees"
	t.Setenv("AZURE_STORAGE_ACCOUNT", account)
	t.Setenv("AZURE_STORAGE_KEY", base64.StdEncoding.EncodeToString([]byte(secret)))
	return account, secret
}

// azure starts Azurite.
func azure(t testing.TB, bucket string) (address string) {
	account, secret := AzureCredentials(t)
	t.Setenv("AZURITE_ACCOUNTS", account+":"+os.Getenv("AZURE_STORAGE_KEY"))
	address = FreeAddress(t)
	emulator(t, "VITFT_AZURITE", address, "--inMemoryPersistence", "--skipApiVersionCheck", "--disableTelemetry",
		"--silent", "--blobHost", "127.0.0.1", "--blobPort", port(address))
	t.Setenv("AZURE_STORAGE_PROTOCOL", "http")
	t.Setenv("AZURE_STORAGE_DOMAIN", address)
	t.Setenv("AZURE_STORAGE_IS_LOCAL_EMULATOR", "true")
	at, version := time.Now().UTC().Format(http.TimeFormat), "2021-08-06"
	signed := hmac.New(sha256.New, []byte(secret))
	fmt.Fprintf(signed, "PUT\n\n\n\n\n\n\n\n\n\n\n\nx-ms-date:%s\nx-ms-version:%s\n/%s/%s/%s\nrestype:container", at,
		version, account, account, bucket)
	r, err := http.NewRequest(http.MethodPut, fmt.Sprintf("http://%s/%s/%s?restype=container", address, account,
		bucket), nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header = http.Header{"x-ms-date": {at}, "x-ms-version": {version},
		"Authorization": {"SharedKey " + account + ":" + base64.StdEncoding.EncodeToString(signed.Sum(nil))}}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	if answer.Body.Close(); answer.StatusCode != http.StatusCreated {
		t.Fatalf("a container of Azurite: %s", answer.Status)
	}
	return address
}

// port is that of an address.
func port(address string) string { return address[strings.LastIndexByte(address, ':')+1:] }

// emulator starts the program that a variable names until the end of the test, and waits until it answers.
func emulator(t testing.TB, variable, address string, args ...string) {
	t.Helper()
	program := os.Getenv(variable)
	if program == "" {
		t.Skip(variable + " names no emulator of this object store (scripts/emulators.sh makes one)")
	}
	process := exec.Command(program, args...)
	process.Stderr = os.Stderr
	if err := process.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = process.Process.Kill(); _ = process.Wait() })
	for range 200 {
		if answer, err := http.Get("http://" + address); err == nil {
			answer.Body.Close()
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatalf("the emulator that %s names does not answer", variable)
}
