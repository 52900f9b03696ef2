//go:build !race

package simulation

const usual = 1000
