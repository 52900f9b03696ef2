package protocol

import "testing"

func TestNamesOfCodesAreReadBack(t *testing.T) {
	for _, code := range []Code{OK, Denied, Unreachable, NoFile, OfKDC(7), OfKDC(999), -17} {
		if got, ok := CodeByName(code.String()); !ok || got != code {
			t.Errorf("%v is read as %d", code, got)
		}
	}
	if OfKDC(7) != -1765328377 || OfKDC(7).String() != "KDC_ERR_7" {
		t.Errorf("%d, %v", OfKDC(7), OfKDC(7))
	}
}
