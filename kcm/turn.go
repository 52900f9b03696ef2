package kcm

// turn is a mutex made of a channel. Unlike sync.Mutex, waiting for it is
// something that testing/synctest can see, so that tests of waiting take no
// time.
type turn chan struct{}

func newTurn() turn { return make(turn, 1) }

func (t turn) Lock()   { t <- struct{}{} }
func (t turn) Unlock() { <-t }

func (t turn) TryLock() bool {
	select {
	case t <- struct{}{}:
		return true
	default:
		return false
	}
}
