package main

import (
	"strings"
	"testing"
)

func TestIssuer(t *testing.T) {
	secret := secretFile(t)
	for issuer, valid := range map[string]bool{
		"https://earlybird.example": true, "https://earlybird.example:8443/base": true,
		"http://localhost:8081": true, "http://127.0.0.1": true, "http://[::1]:8081": true,
		"http://earlybird.example": false, "http://10.0.0.1": false, "http://localhost.example": false,
		"https://": false, "https://:8443": false, "https://u:hunter2@earlybird.example": false, "https://earlybird.example?a": false,
		"https://earlybird.example#a": false, "ftp://localhost": false, "earlybird.example": false,
	} {
		_, err := load(values(map[string]string{"key-secret-file": secret, "issuer": issuer}))
		if (err == nil) != valid {
			t.Errorf("%s: %v", issuer, err)
		}
		if err != nil && (!strings.Contains(err.Error(), "--issuer (EARLYBIRD_ISSUER): must be a URL with https") || strings.Contains(err.Error(), "hunter2")) {
			t.Errorf("%s: %v", issuer, err)
		}
	}
}
