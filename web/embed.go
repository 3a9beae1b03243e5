// Package web is the dashboard: React in src/, built by `npm run build` into dist/, which is embedded here and served by huskd itself under
// /ui/. It talks to the API like every other client, with the token of whoever has signed in; the server does nothing for it that others cannot ask for.
//
// src/api holds what speaks to the API (types are generated from openapi.yaml), src/ui the parts that pages are made of, src/pages one file a
// page. browser/ tests all of it in a real browser against a real installation.
package web

import (
	"embed"
	"io/fs"
)

//go:embed all:dist
var dist embed.FS

// Files are the files of the built dashboard. Where it was not built there is no index.html among them.
func Files() (fs.FS, error) { return fs.Sub(dist, "dist") }
