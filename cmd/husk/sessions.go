package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync"
	"time"

	"golang.org/x/term"

	"husk/openapi"
	"husk/session"
	"husk/session/ws"
)

// dial opens a session for a request that the generated client has made.
func dial(ctx context.Context, c *openapi.Client, req *http.Request, err error) (*ws.Conn, error) {
	if err != nil {
		return nil, err
	}
	client, ok := c.Client.(*http.Client)
	if !ok {
		return nil, errors.New("the client is not one for HTTP")
	}
	conn, said, err := ws.Dial(ctx, client, req.URL.String(), nil)
	if err == nil {
		return conn, nil
	}
	if said != nil && said.Status >= http.StatusBadRequest {
		return nil, checked(&http.Response{
			StatusCode: said.Status, Status: fmt.Sprint(said.Status), Header: said.Header, Body: io.NopCloser(bytes.NewReader(said.Body)), Request: req,
		}, nil)
	}
	return nil, callError(err)
}

// fault is why a session could not go on, as an error of ours.
func fault(payload []byte) error {
	f, err := session.ParseFault(payload)
	if err != nil {
		return err
	}
	detail := clean(f.Detail)
	return problemError{openapi.Problem{Code: f.Code, Detail: &detail}}
}

// brokeOff is the end of a connection before the end of its session.
func brokeOff(err error) error {
	return unreachableError{fmt.Errorf("the session broke off: %w", err)}
}

// talk is a session whose output is printed and whose input is this program's.
type talk struct {
	app  *app
	conn *ws.Conn
	tty  bool
	in   io.Reader // nil: nothing is sent
	keys *detacher // that leave it; nil: none
}

// run relays until the session is over. Its exit code other than 0 is the error, or errDetached.
func (t talk) run() error {
	if t.tty {
		back, err := t.raw()
		if err != nil {
			return err
		}
		defer back()
	}
	if t.in != nil {
		go t.send() // ends with the program: nothing interrupts a read of a terminal
	}
	for {
		f, err := t.conn.Receive()
		switch {
		case err != nil && t.keys.hasLeft():
			return errDetached
		case err != nil:
			return brokeOff(err)
		}
		switch f.Kind {
		case session.Stdout:
			_, err = t.app.out.Write(f.Payload)
		case session.Stderr:
			_, err = t.app.errs.Write(f.Payload)
		case session.Exit:
			status, err := session.ParseStatus(f.Payload)
			if err == nil && status.Code != 0 {
				err = containerError{status.Code}
			}
			return errors.Join(err, t.conn.End())
		case session.Problem:
			return fault(f.Payload)
		default:
		}
		if err != nil {
			return err
		}
	}
}

// send passes input on to its end.
func (t talk) send() {
	buf := make([]byte, session.Chunk)
	for {
		n, err := t.in.Read(buf)
		typed := t.keys.pass(buf[:n])
		if err != nil {
			typed = append(typed, t.keys.rest()...)
		}
		if len(typed) > 0 && t.conn.Send(session.Stdin, typed) != nil {
			return // whoever receives says why
		}
		if t.keys.hasLeft() {
			_ = t.conn.End() //nolint:errcheck // it is given up
			return
		}
		if err != nil {
			_ = t.conn.Send(session.EOF, nil) //nolint:errcheck // as above
			return
		}
	}
}

// raw hands the terminal over to the command, if that gets what is typed, and keeps telling its size. It returns what undoes that.
func (t talk) raw() (func(), error) {
	f, ok := t.app.in.(*os.File)
	if !ok || !terminal(f) {
		return func() {}, nil
	}
	restore := func() {}
	if t.in != nil { // else Ctrl-C is this program's
		before, err := term.MakeRaw(int(f.Fd()))
		if err != nil {
			return nil, fmt.Errorf("the terminal cannot be handed over: %w", err)
		}
		restore = func() {
			_ = term.Restore(int(f.Fd()), before) //nolint:errcheck // there is nothing else to be done about it
		}
	}
	stop := make(chan struct{})
	var sizes sync.WaitGroup
	sizes.Go(func() {
		var last session.Size
		for resized := time.NewTicker(sizeLook); ; {
			if now, known := t.app.size(); known && now != last {
				if session.SendSize(t.conn, now) != nil {
					return
				}
				last = now
			}
			select {
			case <-stop:
				resized.Stop()
				return
			case <-resized.C:
			}
		}
	})
	return func() {
		close(stop)
		restore()
		sizes.Wait()
	}, nil
}

// sizeLook is how often the terminal's size is looked at. Not every system has a signal for it.
const sizeLook = 200 * time.Millisecond

// size is the terminal's.
func (a *app) size() (session.Size, bool) {
	f, ok := a.out.(*os.File)
	if !ok {
		return session.Size{}, false
	}
	cols, rows, err := term.GetSize(int(f.Fd()))
	if err != nil || cols <= 0 || rows <= 0 || cols > 1<<15 || rows > 1<<15 {
		return session.Size{}, false
	}
	return session.Size{Cols: uint16(cols), Rows: uint16(rows)}, true
}

// sides returns the size as parameters of a request.
func (a *app) sides() (cols, rows *int) {
	s, known := a.size()
	if !known {
		return nil, nil
	}
	return new(int(s.Cols)), new(int(s.Rows))
}
