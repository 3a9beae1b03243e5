// SPDX-License-Identifier: Apache-2.0

package site

import (
	"bytes"
	"net/http"

	"husk"
	"husk/session"
	"husk/session/ws"
)

// serve accepts a session with a pod of this node and serves it.
func (n *node) serve(w http.ResponseWriter, r *http.Request, do func(pod *pod, conn *ws.Conn)) {
	pod := n.podOf(r)
	if pod == nil {
		http.NotFound(w, r)
		return
	}
	conn, err := ws.Accept(w, r)
	if err != nil {
		return
	}
	defer func() { _ = conn.End() }()
	do(pod, conn)
}

// exec runs one of the commands that containers understand.
func (n *node) exec(w http.ResponseWriter, r *http.Request) {
	n.serve(w, r, func(_ *pod, conn *ws.Conn) {
		command := r.URL.Query()["command"]
		if command[0] == "repeat" {
			echo(conn)
			return
		}
		if command[0] == "stay" { // until it receives a signal
			if f, err := conn.Receive(); err == nil && f.Kind == session.Signal {
				_ = session.SendExit(conn, session.Status{Code: 130, Signal: 2})
			}
			return
		}
		pod := start(husk.Container{Args: command})
		kind := session.Stdout
		if pod.stream == "stderr" {
			kind = session.Stderr
		}
		_ = conn.Send(kind, []byte(pod.line+"\n"))
		_ = session.SendExit(conn, session.Status{Code: pod.code})
	})
}

// forward echoes on every port, except that port 1 is closed, and that port 2 greets, ends its own stream and waits for the client's end.
func (n *node) forward(w http.ResponseWriter, r *http.Request) {
	n.serve(w, r, func(_ *pod, conn *ws.Conn) {
		if r.URL.Query().Get("port") == "1" {
			_ = session.SendFault(conn, session.Fault{Code: string(husk.CodeConflict), Detail: "nothing listens on port 1"})
			return
		}
		if r.URL.Query().Get("port") == "2" {
			_ = conn.Send(session.Stdout, []byte("greeting"))
			_ = conn.Send(session.EOF, nil)
			for {
				if _, err := conn.Receive(); err != nil {
					return
				}
			}
		}
		echo(conn)
	})
}

// echo sends the input back until it ends.
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

// copyIn stores the archive.
func (n *node) copyIn(w http.ResponseWriter, r *http.Request) {
	n.serve(w, r, func(pod *pod, conn *ws.Conn) {
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
				pod.file = archive.Bytes()
				n.mu.Unlock()
				_ = session.SendExit(conn, session.Status{})
				return
			default:
			}
		}
	})
}

// copyOut sends the stored archive.
func (n *node) copyOut(w http.ResponseWriter, r *http.Request) {
	n.serve(w, r, func(pod *pod, conn *ws.Conn) {
		n.mu.Lock()
		archive := pod.file
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
