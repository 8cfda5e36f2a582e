// Package loopback is about servers that listen to this machine and to nobody else.
//
// A page of the internet can have a browser on this machine ask such a server, and read the answers, by giving a name
// of its own the address 127.0.0.1 (DNS rebinding): they answer under this machine's own names only.
package loopback

import (
	"net"
	"strings"
)

// Is says whether an address is one of this machine's for itself.
func Is(addr net.Addr) bool {
	tcp, is := addr.(*net.TCPAddr)
	return is && tcp.IP.IsLoopback()
}

// Named says whether a Host header means this machine, by a name of the kind that all machines have or by one of own.
// Whatever sends none is no browser.
func Named(host string, own ...string) bool {
	h := name(host)
	for _, o := range own {
		if h == name(o) {
			return true
		}
	}
	return h == "" || h == "localhost" || strings.HasSuffix(h, ".localhost") || net.ParseIP(h).IsLoopback()
}

func name(hostPort string) string {
	if h, _, err := net.SplitHostPort(hostPort); err == nil {
		hostPort = h
	}
	return strings.ToLower(strings.TrimSuffix(strings.Trim(hostPort, "[]"), "."))
}
