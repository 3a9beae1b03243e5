// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"os"

	"gopkg.in/yaml.v3"

	"husk"
)

// readPrices reads the price list. Without a file, nothing has a price.
func readPrices(file string) (p husk.PriceList, err error) {
	if file == "" {
		return p, nil
	}
	f, err := os.Open(file)
	if err != nil {
		return p, fmt.Errorf("--price-list: %w", err)
	}
	defer f.Close() //nolint:errcheck // only opened for reading
	d := yaml.NewDecoder(f)
	d.KnownFields(true)
	if err := d.Decode(&p); err != nil {
		return p, fmt.Errorf("--price-list %s: %w", file, err)
	}
	if len(p.Currency) != 3 {
		return p, fmt.Errorf("--price-list %s: currency: %q is not an ISO 4217 code", file, p.Currency)
	}
	if p.CPUCoreHour < 0 || p.MemoryGiBHour < 0 || p.VolumeGiBHour < 0 || p.ScratchGiBHour < 0 || p.NetworkGiB < 0 {
		return p, errors.New("--price-list " + file + ": a price is negative")
	}
	return p, nil
}
