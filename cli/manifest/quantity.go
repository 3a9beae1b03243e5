// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"errors"
	"math/big"
	"regexp"
	"strconv"
)

// cpuQuantity is a Kubernetes quantity of cores, in thousandths.
type cpuQuantity int64

// memoryQuantity is a Kubernetes quantity of memory, in bytes.
type memoryQuantity int64

func (q *cpuQuantity) set(text string) error {
	n, ok := quantity(text, 1000)
	if !ok {
		return errors.New("expected a number of cores such as 500m or 0.5")
	}
	*q = cpuQuantity(n)
	return nil
}

func (q *memoryQuantity) set(text string) error {
	n, ok := quantity(text, 1)
	if !ok {
		return errors.New("expected an amount of memory such as 256Mi or 1G")
	}
	*q = memoryQuantity(n)
	return nil
}

var quantityForm = regexp.MustCompile(`^\+?([0-9]{1,18}(?:\.[0-9]{0,9})?|\.[0-9]{1,9})(?:(m|k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)|[eE](\+?[0-9]{1,2}))?$`)

// suffixes are decimal and binary, as Kubernetes reads them.
var suffixes = map[string]*big.Rat{
	"": big.NewRat(1, 1), "m": big.NewRat(1, 1000),
	"k": big.NewRat(1e3, 1), "M": big.NewRat(1e6, 1), "G": big.NewRat(1e9, 1), "T": big.NewRat(1e12, 1), "P": big.NewRat(1e15, 1),
	"Ki": big.NewRat(1<<10, 1), "Mi": big.NewRat(1<<20, 1), "Gi": big.NewRat(1<<30, 1), "Ti": big.NewRat(1<<40, 1), "Pi": big.NewRat(1<<50, 1),
}

// quantity reads a positive amount and rounds it up to a whole number of 1/per.
func quantity(text string, per int64) (int64, bool) {
	parts := quantityForm.FindStringSubmatch(text)
	if parts == nil {
		return 0, false
	}
	n, ok := new(big.Rat).SetString(parts[1])
	if !ok {
		return 0, false
	}
	n.Mul(n, suffixes[parts[2]])
	if parts[3] != "" {
		exponent, err := strconv.ParseInt(parts[3], 10, 8)
		if err != nil || exponent > 18 {
			return 0, false
		}
		n.Mul(n, new(big.Rat).SetInt(new(big.Int).Exp(big.NewInt(10), big.NewInt(exponent), nil)))
	}
	n.Mul(n, big.NewRat(per, 1))
	whole, rest := new(big.Int).QuoRem(n.Num(), n.Denom(), new(big.Int))
	if rest.Sign() > 0 {
		whole.Add(whole, big.NewInt(1))
	}
	if !whole.IsInt64() || whole.Sign() <= 0 {
		return 0, false
	}
	return whole.Int64(), true
}
