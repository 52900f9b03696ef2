package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"sync"

	"filippo.io/age"
	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// keys are what an archive is sealed and opened with.
type keys struct {
	to         []string // recipients
	file       string   // of identities
	passphrase bool     // asked for on the terminal
	descriptor int      // that the passphrase is read from; -1: none
}

// maxPassphrase bounds the bytes of a passphrase.
const maxPassphrase = 4096

func (k *keys) passphraseFlags(c *cobra.Command) {
	c.Flags().BoolVar(&k.passphrase, "passphrase", false, "use a passphrase, which is asked for on the terminal")
	c.Flags().IntVar(&k.descriptor, "passphrase-fd", -1, "use the passphrase in the first line of file descriptor `N`")
}

// recipients are whom an archive is sealed for.
func (k *keys) recipients(c *cobra.Command) (list []age.Recipient, err error) {
	if err := k.exactlyOne(c, len(k.to) > 0, "--recipient"); err != nil {
		return nil, err
	}
	for _, text := range k.to {
		recipient, err := age.ParseX25519Recipient(text)
		if err != nil {
			return nil, &usageError{c, fmt.Sprintf("--recipient %q is not a public key of age, as age-keygen prints it", text)}
		}
		list = append(list, recipient)
	}
	if len(list) > 0 {
		return list, nil
	}
	secret, err := k.secret(true)
	if err != nil {
		return nil, err
	}
	recipient, err := age.NewScryptRecipient(secret)
	return []age.Recipient{recipient}, err
}

// identities are whom an archive is opened as.
func (k *keys) identities(c *cobra.Command) ([]age.Identity, error) {
	if err := k.exactlyOne(c, k.file != "", "--identity"); err != nil {
		return nil, err
	}
	if k.file != "" {
		file, err := os.Open(k.file)
		if err != nil {
			return nil, err
		}
		defer func() { _ = file.Close() }()
		list, err := age.ParseIdentities(file)
		if err != nil { // the library's text may quote a key
			return nil, fmt.Errorf("%s has no private keys of age, as age-keygen writes them", k.file)
		}
		return list, nil
	}
	secret, err := k.secret(false)
	if err != nil {
		return nil, err
	}
	identity, err := age.NewScryptIdentity(secret)
	return []age.Identity{identity}, err
}

func (k *keys) exactlyOne(c *cobra.Command, keyed bool, option string) error {
	chosen := 0
	for _, is := range []bool{keyed, k.passphrase, k.descriptor >= 0} {
		if is {
			chosen++
		}
	}
	if chosen != 1 {
		return &usageError{c, fmt.Sprintf("choose one of %s, --passphrase and --passphrase-fd", option)}
	}
	return nil
}

// secret reads the passphrase, and a new one twice.
func (k *keys) secret(isNew bool) (secret string, err error) {
	if k.descriptor >= 0 {
		secret, err = firstLine(os.NewFile(uintptr(k.descriptor), "passphrase"))
	} else {
		secret, err = askTerminal("Passphrase: ")
		if err == nil && isNew {
			again, err := askTerminal("The same again: ")
			if err != nil {
				return "", err
			}
			if again != secret {
				return "", errors.New("the two passphrases differ")
			}
		}
	}
	if err != nil {
		return "", fmt.Errorf("passphrase: %w", err)
	}
	if secret == "" {
		return "", errors.New("the passphrase is empty")
	}
	return secret, nil
}

func firstLine(file *os.File) (string, error) {
	if file == nil {
		return "", errors.New("there is no such file descriptor")
	}
	text, err := io.ReadAll(io.LimitReader(file, maxPassphrase+1))
	if err != nil {
		return "", err
	}
	line, _, _ := strings.Cut(string(text), "\n")
	if len(line) > maxPassphrase {
		return "", fmt.Errorf("it has more than %d bytes", maxPassphrase)
	}
	return line, nil
}

func askTerminal(prompt string) (string, error) {
	terminal, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil {
		return "", fmt.Errorf("there is no terminal to ask; use --passphrase-fd: %w", err)
	}
	defer func() { _ = terminal.Close() }()
	defer restoreOnSignal(int(terminal.Fd()))()
	fmt.Fprint(terminal, prompt)
	secret, err := term.ReadPassword(int(terminal.Fd()))
	fmt.Fprintln(terminal)
	return string(secret), err
}

// restoreOnSignal has a signal that ends this program leave the terminal as it
// is now, and not without echo, until done is called.
func restoreOnSignal(terminal int) (done func()) {
	before, err := term.GetState(terminal)
	if err != nil {
		return func() {} // reading from it fails, too
	}
	signals, over := make(chan os.Signal, 1), make(chan struct{})
	signal.Notify(signals, unix.SIGINT, unix.SIGTERM, unix.SIGHUP)
	var watching sync.WaitGroup
	watching.Go(func() {
		select {
		case s := <-signals:
			_ = term.Restore(terminal, before)
			signal.Reset(s)
			_ = unix.Kill(os.Getpid(), s.(unix.Signal)) // and ends, as it would have
		case <-over:
		}
	})
	return func() {
		signal.Stop(signals)
		close(over)
		watching.Wait()
	}
}
