package main

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"husk/cmd/husk/archive"
	"husk/openapi"
	"husk/session"
	"husk/session/ws"
)

func cpCommand(a *app) *cobra.Command {
	var container string
	var owners bool
	cmd := &cobra.Command{
		Use:   "cp [flags] POD:PATH LOCAL | LOCAL POD:PATH",
		Short: "Copy files and directories to and from a container",
		Long: `Copy a file or a directory, with all in it, out of a container or into one. The
container needs no tar. As with cp, what is copied goes into a directory that is
there, and else becomes what is named. - for LOCAL is a tar archive on standard
input or output.

Modes and times are kept. What is copied in belongs to the container's user,
unless --archive keeps the numeric owners; what is copied out belongs to you.
Nothing is written outside of the place that is named, whatever an archive says.`,
		Example: `  husk cp web:/etc/nginx ./nginx
  husk cp ./site web:/usr/share/nginx/html -c nginx
  husk cp web:/var/log - | tar t`,
		Args: cobra.ExactArgs(2),
		ValidArgsFunction: func(cmd *cobra.Command, _ []string, word string) ([]string, cobra.ShellCompDirective) {
			if strings.ContainsAny(word, ":/.") {
				return nil, cobra.ShellCompDirectiveDefault
			}
			names := a.named(cmd, "pod")
			for i := range names {
				names[i] += ":"
			}
			return names, cobra.ShellCompDirectiveNoSpace
		},
	}
	cmd.Flags().StringVarP(&container, "container", "c", "", "which container; may be left out when the pod has one")
	cmd.Flags().BoolVarP(&owners, "archive", "a", false, "keep the numeric owners of what is copied in")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		fromPod, from, out := podPath(args[0])
		toPod, to, in := podPath(args[1])
		switch {
		case out == in:
			return usagef("one of the two is in a pod, POD:/PATH, and the other here")
		case out:
			return a.copyOut(cmd.Context(), fromPod, openapi.CopyFromPodParams{Container: given(container), Path: from}, args[1])
		default:
			return a.copyIn(cmd.Context(), args[0], toPod, openapi.CopyToPodParams{Container: given(container), Path: to, KeepOwners: given(owners)})
		}
	}
	return cmd
}

// podPath takes POD:PATH apart. A local path with a colon is written ./a:b.
func podPath(arg string) (pod, path string, is bool) {
	pod, path, is = strings.Cut(arg, ":")
	if !is || strings.ContainsAny(strings.TrimPrefix(pod, "pod/"), `/\.`) || len(pod) < 2 {
		return "", "", false
	}
	if !strings.HasPrefix(path, "/") {
		path = "/" + path
	}
	return pod, path, true
}

// transfer is a session that carries an archive.
type transfer struct {
	app  *app
	conn *ws.Conn
	stop func() bool
}

func (a *app) transfer(ctx context.Context, name string, open func(c *openapi.Client, pod openapi.Pod) (*ws.Conn, error)) (*transfer, error) {
	c, err := a.connect()
	if err != nil {
		return nil, err
	}
	pod, err := findPod(ctx, c, bare("pod", name))
	if err != nil {
		return nil, err
	}
	conn, err := open(c, pod)
	if err != nil {
		return nil, err
	}
	return &transfer{a, conn, context.AfterFunc(ctx, func() { conn.Close() })}, nil
}

func (t *transfer) close() {
	t.stop()
	t.conn.Close()
}

// Read reads the archive that comes out of a pod.
func (t *transfer) read(take func([]byte) error) error {
	for {
		f, err := t.conn.Receive()
		if err != nil {
			return brokeOff(err)
		}
		switch f.Kind {
		case session.Stdout:
			err = take(f.Payload)
		case session.Stderr:
			_, err = io.WriteString(t.app.errs, "husk: "+clean(strings.TrimSpace(string(f.Payload)))+"\n")
		case session.Problem:
			return fault(f.Payload)
		case session.Exit:
			status, err := session.ParseStatus(f.Payload)
			if err == nil && status.Code != 0 {
				err = errors.New("not everything was copied")
			}
			return err
		default:
		}
		if err != nil {
			return err
		}
	}
}

func (a *app) copyOut(ctx context.Context, pod string, params openapi.CopyFromPodParams, local string) error {
	t, err := a.transfer(ctx, pod, func(c *openapi.Client, pod openapi.Pod) (*ws.Conn, error) {
		req, err := openapi.NewCopyFromPodRequest(c.Server, pod.ID, &params)
		return dial(ctx, c, req, err)
	})
	if err != nil {
		return err
	}
	defer t.close()
	if local == "-" {
		return leftOr(ctx, t.read(func(p []byte) error { _, err := a.out.Write(p); return err }))
	}
	r, w := io.Pipe()
	unpacked := make(chan error, 1)
	go func() {
		err := archive.Unpack(r, local, func(name, why string) { a.hint("%s is left out: %s", clean(name), why) })
		r.CloseWithError(err) // nil: what still comes is not needed
		unpacked <- err
	}()
	err = t.read(func(p []byte) error { _, err := w.Write(p); return err })
	if err == nil || !errors.Is(err, io.ErrClosedPipe) {
		w.CloseWithError(err) // nil: the end
	}
	if e := <-unpacked; e != nil && (err == nil || errors.Is(err, io.ErrClosedPipe) || errors.Is(err, e)) {
		return leftOr(ctx, e)
	}
	return leftOr(ctx, err)
}

func (a *app) copyIn(ctx context.Context, local, pod string, params openapi.CopyToPodParams) error {
	if local != "-" {
		if _, err := os.Lstat(local); err != nil { // before anything is asked of the server
			return usageError{err}
		}
	}
	t, err := a.transfer(ctx, pod, func(c *openapi.Client, pod openapi.Pod) (*ws.Conn, error) {
		req, err := openapi.NewCopyToPodRequest(c.Server, pod.ID, &params)
		return dial(ctx, c, req, err)
	})
	if err != nil {
		return err
	}
	defer t.close()
	packed := make(chan error, 1)
	go func() {
		out := bufio.NewWriterSize(stdinOf{t.conn}, session.Chunk)
		var err error
		if local == "-" {
			_, err = io.Copy(out, a.in)
		} else {
			err = archive.Pack(out, filepath.Clean(local), func(name, why string) { a.hint("%s is left out: %s", clean(name), why) })
		}
		if err = errors.Join(err, out.Flush()); err == nil {
			err = t.conn.Send(session.EOF, nil)
		}
		if err != nil {
			t.conn.Close() // half an archive must not look like a whole one
		}
		packed <- err
	}()
	err = t.read(func([]byte) error { return nil })
	if _, broken := errors.AsType[unreachableError](err); broken {
		select {
		case e := <-packed:
			if e != nil {
				err = e
			}
		default:
		}
	}
	return leftOr(ctx, err)
}

// leftOr is the interruption, if that is why.
func leftOr(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// stdinOf writes a session's input.
type stdinOf struct{ conn session.Conn }

// Write implements io.Writer.
func (s stdinOf) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0; {
		n := min(len(rest), session.Chunk)
		if err := s.conn.Send(session.Stdin, rest[:n]); err != nil {
			return 0, err
		}
		rest = rest[n:]
	}
	return len(p), nil
}
