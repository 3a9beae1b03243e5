// SPDX-License-Identifier: Apache-2.0

package site

import (
	"bytes"
	"net/http"

	"husk"
	"husk/session"
	"husk/session/ws"
)

// serve opens a session for a pod of this node and serves it.
func (n *node) serve(w http.ResponseWriter, r *http.Request, do func(ran *ran, conn *ws.Conn)) {
	ran := n.asked(r)
	if ran == nil {
		http.NotFound(w, r)
		return
	}
	conn, err := ws.Accept(w, r)
	if err != nil {
		return
	}
	defer func() { _ = conn.End() }()
	do(ran, conn)
}

// exec runs one of the words that containers know.
func (n *node) exec(w http.ResponseWriter, r *http.Request) {
	n.serve(w, r, func(_ *ran, conn *ws.Conn) {
		command := r.URL.Query()["command"]
		if command[0] == "repeat" {
			echo(conn)
			return
		}
		if command[0] == "stay" { // until a signal comes
			if f, err := conn.Receive(); err == nil && f.Kind == session.Signal {
				_ = session.SendExit(conn, session.Status{Code: 130, Signal: 2})
			}
			return
		}
		ran := start(husk.Container{Args: command})
		kind := session.Stdout
		if ran.stream == "stderr" {
			kind = session.Stderr
		}
		_ = conn.Send(kind, []byte(ran.line+"\n"))
		_ = session.SendExit(conn, session.Status{Code: ran.code})
	})
}

// forward echoes on every port except port 1, which is closed.
func (n *node) forward(w http.ResponseWriter, r *http.Request) {
	n.serve(w, r, func(_ *ran, conn *ws.Conn) {
		if r.URL.Query().Get("port") == "1" {
			_ = session.SendFault(conn, session.Fault{Code: string(husk.CodeConflict), Detail: "nothing listens on port 1"})
			return
		}
		echo(conn)
	})
}

// echo sends input back to its end.
func echo(conn *ws.Conn) {
	for {
		f, err := conn.Receive()
		switch {
		case err != nil:
			return
		case f.Kind == session.Stdin:
			if conn.Send(session.Stdout, f.Payload) != nil {
				return
			}
		case f.Kind == session.EOF:
			_ = conn.Send(session.EOF, nil)
			_ = session.SendExit(conn, session.Status{})
			return
		default:
		}
	}
}

// copyIn keeps the archive.
func (n *node) copyIn(w http.ResponseWriter, r *http.Request) {
	n.serve(w, r, func(ran *ran, conn *ws.Conn) {
		var archive bytes.Buffer
		for {
			f, err := conn.Receive()
			switch {
			case err != nil:
				return
			case f.Kind == session.Stdin:
				archive.Write(f.Payload)
			case f.Kind == session.EOF:
				n.mu.Lock()
				ran.file = archive.Bytes()
				n.mu.Unlock()
				_ = session.SendExit(conn, session.Status{})
				return
			default:
			}
		}
	})
}

// copyOut sends the archive that was copied in.
func (n *node) copyOut(w http.ResponseWriter, r *http.Request) {
	n.serve(w, r, func(ran *ran, conn *ws.Conn) {
		n.mu.Lock()
		archive := ran.file
		n.mu.Unlock()
		if archive == nil {
			_ = session.SendFault(conn, session.Fault{Code: string(husk.CodeNotFound), Detail: "there is no file " + r.URL.Query().Get("path")})
			return
		}
		for len(archive) > 0 {
			part := archive[:min(len(archive), session.Chunk)]
			if conn.Send(session.Stdout, part) != nil {
				return
			}
			archive = archive[len(part):]
		}
		_ = conn.Send(session.Stderr, []byte("a message of the container"))
		_ = session.SendExit(conn, session.Status{})
	})
}
