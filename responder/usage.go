package responder

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/pflag"

	"gosssd/confdb"
)

// UsageError says what is wrong with a command line and what would be right,
// and returns the code to end with.
func UsageError(program string, set *pflag.FlagSet, err error, stderr io.Writer) (code int) {
	_, _ = fmt.Fprintf(stderr, "%s: %s\nUsage: %s [OPTION...]\n%s", program, OptionError(set, err), program, Usages(set))
	return exitUsage
}

// OptionError words an error of parsing options, and names the nearest option
// if there is none as it was written.
func OptionError(set *pflag.FlagSet, err error) string {
	if unknown, ok := errors.AsType[*pflag.NotExistError](err); ok {
		if unknown.GetSpecifiedShortnames() != "" {
			return "there is no option -" + unknown.GetSpecifiedName()[:1]
		}
		text := "there is no option --" + unknown.GetSpecifiedName()
		if near := confdb.Nearest(unknown.GetSpecifiedName(), optionNames(set)); near != "" {
			text += fmt.Sprintf("; did you mean '--%s'?", near)
		}
		return text
	}
	if lacking, ok := errors.AsType[*pflag.ValueRequiredError](err); ok {
		return fmt.Sprintf("--%s needs a value", lacking.GetFlag().Name)
	}
	bad, ok := errors.AsType[*pflag.InvalidValueError](err)
	if !ok {
		return err.Error()
	}
	return fmt.Sprintf("--%s: %v", bad.GetFlag().Name, bad.Unwrap())
}

func optionNames(set *pflag.FlagSet) []string {
	var names []string
	set.VisitAll(func(flag *pflag.Flag) {
		if !flag.Hidden {
			names = append(names, flag.Name)
		}
	})
	return names
}

// VersionOf is the line that --version prints: program, product and version.
func VersionOf(program string) string { return program + " (gosssd) " + Version }

// Usages lists options, one to a line, with what each is for.
func Usages(set *pflag.FlagSet) string {
	var out strings.Builder
	w := tabwriter.NewWriter(&out, 0, 0, 3, ' ', 0)
	set.VisitAll(func(flag *pflag.Flag) {
		if flag.Hidden {
			return
		}
		short := "    "
		if flag.Shorthand != "" {
			short = "-" + flag.Shorthand + ", "
		}
		value, text := pflag.UnquoteUsage(flag)
		if value != "" {
			value = " " + value
		}
		if flag.NoOptDefVal != "" && flag.Value.Type() != "bool" {
			value = "[=" + value[1:] + "]"
		}
		if d := flag.DefValue; d != "" && d != "0" && d != "0s" && d != "[]" && d != "false" {
			text += " (default " + d + ")"
		}
		_, _ = fmt.Fprintf(w, "  %s--%s%s\t%s\n", short, flag.Name, value, text)
	})
	_ = w.Flush() // into memory
	return out.String()
}
