package worker

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
)

// onlyOf lets in the connections of one user, on a loopback address: those of
// the process that was told of it, and of what that started. Every other
// program of the machine could connect, too, and take the worker's calls.
type onlyOf struct {
	net.Listener
	user uint32
}

// Accept implements net.Listener.
func (l onlyOf) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if user, err := peerUser(conn); err == nil && user == l.user {
			return conn, nil
		}
		_ = conn.Close()
	}
}

// peerUser is whose socket is at the other end of a TCP connection over IPv4 on
// this machine, by the kernel's table of sockets.
func peerUser(conn net.Conn) (uint32, error) {
	table, err := os.Open("/proc/net/tcp")
	if err != nil {
		return 0, err
	}
	defer table.Close()
	// Of the peer's socket, our end is the remote one.
	local, remote := tableAddress(conn.RemoteAddr()), tableAddress(conn.LocalAddr())
	lines := bufio.NewScanner(table)
	for lines.Scan() {
		// sl local remote st tx:rx tr:when retrnsmt uid ...
		fields := strings.Fields(lines.Text())
		if len(fields) > 7 && fields[1] == local && fields[2] == remote {
			user, err := strconv.ParseUint(fields[7], 10, 32)
			return uint32(user), err
		}
	}
	return 0, fmt.Errorf("there is no socket %s", local)
}

// tableAddress is an address as the table has it: the bytes of the address in
// the order of the machine, which is little-endian on all that we build for.
func tableAddress(a net.Addr) string {
	tcp, ok := a.(*net.TCPAddr)
	if !ok || tcp.IP.To4() == nil {
		return ""
	}
	return fmt.Sprintf("%08X:%04X", binary.LittleEndian.Uint32(tcp.IP.To4()), tcp.Port)
}

// guard lets only the process connect, where it can be told from others, and
// says whether it does.
func (p *process) guard(l net.Listener) (net.Listener, Limit) {
	limit := Limit{Name: "runtime API", Wanted: "reached by the worker only"}
	switch {
	case p.box.isolated:
		limit.InForce, limit.How = true, "a network of its own"
	case p.box.user != 0:
		limit.InForce, limit.How = true, "connections of its user only"
		return onlyOf{l, p.box.user}, limit
	default:
		limit.How = "it has no user of its own: every program of this machine can connect to its port"
	}
	return l, limit
}
