package main

import "testing"

func TestWhatGrowsIsNotFlat(t *testing.T) {
	for name, c := range map[string]struct {
		measure string
		step    float64
		flat    bool
	}{
		"memory that stays":        {measure: "sssd_kcm, memory", flat: true},
		"memory that leaks":        {measure: "sssd_kcm, memory", step: 0.1},
		"a file that grows":        {measure: "databases, size", step: 0.05},
		"descriptors that leak":    {measure: "sssd, descriptors", step: 0.5},
		"threads that are left":    {measure: "sssd, threads", step: 0.1},
		"a megabyte here or there": {measure: "sssd, memory", step: 0.005, flat: true},
	} {
		m := newMeasure(c.measure)
		for i := range 100 {
			m.values = append(m.values, 10+c.step*float64(i))
		}
		if first, last, flat := m.growth(10); flat != c.flat {
			t.Errorf("%s: from %v to %v is said to be flat: %v", name, first, last, flat)
		}
	}
	if _, _, flat := (&measure{}).growth(0); flat {
		t.Error("what was not measured is flat")
	}
}
