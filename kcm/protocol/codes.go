package protocol

import (
	"errors"
	"strconv"
	"strings"
)

// Code is a result on the wire: 0, a code of krb5's error table, or an errno
// of Linux. MIT and Heimdal number the table alike, and both print an errno in
// the system's words. It stands where the table has no words for what happened.
type Code int32

// krb5Base is the first code of the com_err table "krb5" (krb5_err.et).
const krb5Base = -1765328384

// The codes a server gives.
const (
	OK          Code = 0
	IOError     Code = 5              // EIO; clients print "Input/output error"
	Busy        Code = 11             // EAGAIN; "Resource temporarily unavailable"
	Denied      Code = 13             // EACCES; "Permission denied"
	Exists      Code = 17             // EEXIST; "File exists"
	DiskFull    Code = 28             // ENOSPC; "No space left on device"
	TooLong     Code = 90             // EMSGSIZE; "Message too long"
	Quota       Code = 122            // EDQUOT; "Disk quota exceeded"
	BadName     Code = krb5Base + 139 // KRB5_CC_BADNAME
	NotFound    Code = krb5Base + 141 // KRB5_CC_NOTFOUND: no matching credential
	End         Code = krb5Base + 142 // KRB5_CC_END: end of a list
	Unreachable Code = krb5Base + 156 // KRB5_KDC_UNREACH: no KDC of a realm answers
	CCIO        Code = krb5Base + 193 // KRB5_CC_IO
	Perm        Code = krb5Base + 194 // KRB5_FCC_PERM
	NoFile      Code = krb5Base + 195 // KRB5_FCC_NOFILE: no such cache
	Internal    Code = krb5Base + 196 // KRB5_FCC_INTERNAL
	WriteFailed Code = krb5Base + 197 // KRB5_CC_WRITE
	BadFormat   Code = krb5Base + 199 // KRB5_CC_FORMAT
	NoSupport   Code = krb5Base + 247 // KRB5_CC_NOSUPP
)

// ofKDC is how many codes at the beginning of the table are those of KDCs.
const ofKDC = 128

// OfKDC returns the code of the table for a KDC's refusal (RFC 4120 §7.5.9).
func OfKDC(refusal int32) Code {
	const generic = 60 // KRB_ERR_GENERIC
	if refusal <= 0 || refusal >= ofKDC {
		refusal = generic
	}
	return krb5Base + Code(refusal)
}

var codeNames = map[Code]string{
	OK:          "OK",
	IOError:     "EIO",
	Busy:        "EAGAIN",
	Denied:      "EACCES",
	Exists:      "EEXIST",
	DiskFull:    "ENOSPC",
	TooLong:     "EMSGSIZE",
	Quota:       "EDQUOT",
	BadName:     "KRB5_CC_BADNAME",
	NotFound:    "KRB5_CC_NOTFOUND",
	End:         "KRB5_CC_END",
	Unreachable: "KRB5_KDC_UNREACH",
	CCIO:        "KRB5_CC_IO",
	Perm:        "KRB5_FCC_PERM",
	NoFile:      "KRB5_FCC_NOFILE",
	Internal:    "KRB5_FCC_INTERNAL",
	WriteFailed: "KRB5_CC_WRITE",
	BadFormat:   "KRB5_CC_FORMAT",
	NoSupport:   "KRB5_CC_NOSUPP",
}

// String returns the code's name in krb5's headers, or its number.
func (c Code) String() string {
	if name, known := codeNames[c]; known {
		return name
	}
	if refusal := c - krb5Base; 0 < refusal && refusal < ofKDC {
		return "KDC_ERR_" + strconv.Itoa(int(refusal))
	}
	return strconv.Itoa(int(c))
}

// CodeByName returns the code called name, as String spells it.
func CodeByName(name string) (Code, bool) {
	for code, known := range codeNames {
		if known == name {
			return code, true
		}
	}
	number, isOfKDC := strings.CutPrefix(name, "KDC_ERR_")
	n, err := strconv.ParseInt(number, 10, 32)
	if isOfKDC && err == nil {
		return OfKDC(int32(n)), true
	}
	return Code(n), err == nil
}

// What the parsers of this package refuse.
var (
	// ErrMalformed is returned for bytes that are not what they should be.
	ErrMalformed = errors.New("malformed data")
	// ErrTooLong is returned for a frame that announces more than MaxFrame.
	ErrTooLong = errors.New("frame is longer than 10 MiB")
	// ErrVersion is returned for a frame without the header of version 2.0.
	ErrVersion = errors.New("not a request of KCM protocol version 2.0")
)
