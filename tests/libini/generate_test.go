package libini

import (
	"encoding/binary"
	"math/rand/v2"
	"strings"
	"unicode/utf16"
)

// The parts files are made of: names, values and ends of lines first, then
// whole lines in which K, V, S and E stand for one of each.
var (
	names = []string{"a", "A", "b", "fd_limit", "FD_Limit", "x y", "k#1", "x:y", "%d", "-", `"q"`, "`", "'s'", "k]", ".", "a.b",
		"domain/ex.com", "a[b]c", "default", "DEFAULT", "Default", "é", "x!", "x\ty", "x\ry", "\x01", "\x7f", "/", "*/", "k\x00z"}
	values = []string{"1", "", "a b", "  padded  ", "a=b=c", "x # note", "x ; note", "x /* c */", `"quoted"`, "`tick", `"""three`, `tail \`,
		"%(a)s", "%1$s@%2$s", "a,b , c", "été", "\u00a0nbsp\u00a0", "\u0085nel\u0085", "v\x00w", "v \x00", "\x00", "a\rb", "\vv\v", "\x01", "\x01\x01", "[a]", "#", "*/"}
	ends  = []string{"\n", "\n", "\n", "\n", "\r\n", " \n", "\t\n", "\r\r\n", "\v\n"}
	lines = []string{
		"K=V", "K = V", "  K = V", "\tK\t=\tV", "K=V", "K = V", "K", "  K", "=V", " = V", "K: V",
		"[S]", "[S]", "[ S ]", "  [S]", "[S] K", "[S] # V", "[S", "[]", "[  ]", "[S]]", "[[S]", " [S]=V", "[S]\x00", "[\x00S]", "[S\x00]",
		"", " ", "\t", "\x00", "\x00K=V", " \x00=V",
		"# V", ";V", "//V", " # V", "  # K = V", " ; V", "#K=V", "/K=V", "/ /",
		"/* V */", "/* V", "/*", "*/", " */", "V */", "/**/", "/*/", "/* V */ K=V", " /* V */", "V */ ", "/* V E K=V E */", "/* V E K=V E  */", "/* E x*/",
		"\vK=V", "\fK=V", "\rK=V", " \vK=V", "K\v=V",
	}
)

// generate returns count files, the same ones every time. All shapes of lines
// occur in all orders; most files have few errors, since libini stops at one.
func generate(count int) [][]byte {
	random := rand.New(rand.NewPCG(1, 2))
	files := [][]byte{{}, []byte("\n"), []byte("\xef\xbb\xbf"), []byte("\xff\xfe"), []byte("\x00"), []byte("/*")}
	for _, n := range []int{1022, 1023, 1024, 1025, 2000} {
		long := strings.Repeat("k", n)
		files = append(files, []byte("["+long+"]\nk=1\n"), []byte("[a]\n "+long+"  =1\n"), []byte("[a]\nk="+long), []byte("[  "+long+"  ]\n"),
			[]byte("[a]\n"+strings.Repeat(" ", n)+"k=1\n"), []byte("[a]\nk"+strings.Repeat(" ", n)+"=1\n"))
	}
	for len(files) < count {
		files = append(files, encode(random, generateText(random)))
	}
	return files
}

func generateText(random *rand.Rand) string {
	var text strings.Builder
	if random.IntN(4) > 0 {
		text.WriteString("[a]\n")
	}
	ordinary := random.IntN(3) > 0
	for range random.IntN(12) {
		shape := pick(random, lines)
		if ordinary && random.IntN(6) > 0 {
			shape = "K = V"
		}
		text.WriteString(fill(random, shape, ordinary) + pick(random, ends))
	}
	if random.IntN(3) == 0 {
		return strings.TrimRight(text.String(), "\r\n")
	}
	return text.String()
}

// fill puts names and values in the places of shape; a ordinary one takes only
// names that libini accepts.
func fill(random *rand.Rand, shape string, ordinary bool) string {
	var line strings.Builder
	for _, c := range shape {
		switch c {
		case 'K', 'S':
			name := pick(random, names)
			for ordinary && strings.ContainsAny(name, "é!\t\r\x01\x00") {
				name = pick(random, names)
			}
			line.WriteString(name)
		case 'V':
			line.WriteString(pick(random, values))
		case 'E':
			line.WriteString(pick(random, ends))
		default:
			line.WriteRune(c)
		}
	}
	return line.String()
}

// encode writes one file in ten in another encoding than plain UTF-8, and
// breaks one in fifty.
func encode(random *rand.Rand, text string) []byte {
	switch random.IntN(50) {
	case 0:
		return append([]byte{0xff, 0xfe}, encode16(binary.LittleEndian, text)...)
	case 1:
		return append([]byte{0xfe, 0xff}, encode16(binary.BigEndian, text)...)
	case 2:
		return encode32(binary.LittleEndian, "\ufeff"+text)
	case 3:
		return encode32(binary.BigEndian, "\ufeff"+text)
	case 4:
		return []byte("\ufeff" + text)
	case 5:
		broken := []byte(text)
		at := random.IntN(len(broken) + 1)
		return append(broken[:at:at], append([]byte(pick(random, brokenBytes)), broken[at:]...)...)
	}
	return []byte(text)
}

// brokenBytes are not UTF-8: lone, overlong, surrogate, cut off, too large.
var brokenBytes = []string{"\xff", "\x80", "\xc0\x80", "\xed\xa0\x80", "\xc3", "\xe2\x82", "\xf0\x9f\x98", "\xf4\x90\x80\x80", "\xf8\x88\x80\x80\x80"}

func encode16(order binary.AppendByteOrder, text string) []byte {
	var data []byte
	for _, unit := range utf16.Encode([]rune(text)) {
		data = order.AppendUint16(data, unit)
	}
	return data
}

func encode32(order binary.AppendByteOrder, text string) []byte {
	var data []byte
	for _, r := range text {
		data = order.AppendUint32(data, uint32(r))
	}
	return data
}

func pick(random *rand.Rand, from []string) string { return from[random.IntN(len(from))] }
