//go:build race

package simulation

// usual is how many histories are tried under the race detector, which takes
// some four times as long.
const usual = 400
