package confdb

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// The one option that is checked beyond its own declaration.
const (
	monitorSection = "sssd"
	servicesKey    = "services"
)

// validate checks every section, option and value against the schema.
func (c *Config) validate() {
	for _, in := range c.values.sorted() {
		c.validateSection(in)
	}
	c.sortFindings()
}

func (c *Config) validateSection(in *sectionSettings) {
	section := c.schema.Match(in.Name)
	switch {
	case section != nil && section.Numbered && !isNumber(lastElement(in.Name)):
		c.badSection(BadName, in, fmt.Sprintf("[%s] does not end in a number, such as a uid", in.Name), "")
		return
	case in.implicit:
		c.badSection(UnknownName, in, "an option stands before the first [section], where it has no effect", "")
		return
	case isBadlyNamed(in.Name):
		c.badSection(UnknownName, in, fmt.Sprintf("[%s] is not a section of SSSD: its name may contain neither '@' nor a backslash", in.Name), "")
		return
	case section != nil:
		c.validateOptions(in, section)
	case isForeignSection(in.Name):
		c.note(in, fmt.Sprintf("[%s] is %s", in.Name, c.schema.whose(nil)))
	default:
		c.unknownSection(in)
		return
	}
	if services, set := in.Options[servicesKey]; set && section != nil && strings.EqualFold(in.Name, monitorSection) && section.Option(servicesKey) != nil {
		c.validateServices(in, services)
	}
}

// unknownSection is about a section that nobody knows. SSSD starts with it,
// and a later version may know it; but what is meant for a section of the
// schema must not get lost by a typing error. What else is unknown in a file
// that SSSD itself reads too is SSSD's affair.
func (c *Config) unknownSection(in *sectionSettings) {
	kind, near := UnknownName, c.nearestSection(in.Name)
	if declared := c.schema.Match(near); near != "" && declared != nil && !declared.Open {
		kind = BadName
	} else if c.schema.shared() {
		c.note(in, fmt.Sprintf("[%s] is %s", in.Name, c.schema.whose(nil)))
		return
	}
	c.badSection(kind, in, fmt.Sprintf("[%s] is not a section of sssd.conf", in.Name), near)
}

func (c *Config) validateOptions(in *sectionSettings, section *Section) {
	known := foreignKeys(section.Name)
	var notServed []string
	for _, set := range in.sorted() {
		option := section.Option(set.Key)
		switch {
		case option != nil:
			c.validateOption(in, section, option, set)
		case section.Open, containsFold(known, set.Key):
			notServed = append(notServed, set.Key)
		default:
			c.badOption(in, section, set)
		}
	}
	switch len(notServed) {
	case 0:
	case 1:
		c.note(in, fmt.Sprintf("[%s] %s is %s", in.Name, notServed[0], c.schema.whose(section)))
	default:
		c.note(in, fmt.Sprintf("[%s] %d options are %s: %s", in.Name, len(notServed), c.schema.whose(section), strings.Join(notServed, ", ")))
	}
}

func (c *Config) validateOption(in *sectionSettings, section *Section, option *Option, set setting) {
	if err := option.Check(set.Text); err != nil {
		if section.Open { // of others, whom it may suit
			c.about(Unusable, in, set, err.Error()+"; here it counts as not set")
			delete(in.Options, strings.ToLower(set.Key))
			return
		}
		c.badValue(in, set, err.Error())
		return
	}
	if option.NotServed != "" && !strings.EqualFold(set.Text, option.Default) {
		kind := NotServed
		if option.Missed {
			kind = Warning
		}
		c.about(kind, in, set, "has no effect: "+option.NotServed)
	}
	if text := option.adjusted(set.Text); text != "" {
		c.about(Adjusted, in, set, text)
	}
}

// validateServices refuses services that are started by their sockets, as
// sssd-kcm(8) and sssd-secrets(5) demand, and those that do not exist.
func (c *Config) validateServices(in *sectionSettings, set setting) {
	names := splitList(set.Text)
	var rest, own []string
	for _, name := range names {
		if containsFold(foreignServices, name) {
			rest = append(rest, name)
		} else if section := c.schema.Match(name); section != nil && !strings.EqualFold(name, monitorSection) {
			own = append(own, name)
		} else {
			c.badValue(in, set, fmt.Sprintf("%s is not a service%s%s", quoted(name), didYouMean(Nearest(name, foreignServices)), valueHint(set.Text)))
		}
	}
	if len(rest) > 0 {
		c.about(Warning, in, set, "this build keeps tickets and secrets only and does not serve "+strings.Join(rest, ", ")+
			"; a host that has users, logins or sudo rules from SSSD needs SSSD's own sssd")
	}
	if len(own) > 0 {
		instead := strings.TrimSpace(servicesKey + " = " + strings.Join(rest, ", "))
		c.badValue(in, set, fmt.Sprintf("may not list '%s' (started by socket activation); write '%s'", strings.Join(own, "', '"), instead))
	}
}

func (c *Config) badSection(kind FindingKind, in *sectionSettings, text, nearest string) {
	check := fmt.Sprintf("[rule/allowed_sections]: Section [%s] is not allowed. Check for typos.", in.Name)
	if in.implicit {
		check += " An option stands before the first [section], where it has no effect."
	}
	if nearest != "" {
		text += fmt.Sprintf("; did you mean [%s]?", nearest)
		check += fmt.Sprintf(" Did you mean [%s]?", nearest)
	}
	c.Findings = append(c.Findings, Finding{File: in.File, Line: in.Line, Kind: kind, Text: text, check: check})
}

func (c *Config) badOption(in *sectionSettings, section *Section, set setting) {
	text := fmt.Sprintf("[%s] %s is not an option of this section", in.Name, set.Key)
	check := fmt.Sprintf("[rule/%s]: Attribute '%s' is not allowed in section '%s'. Check for typos.", section.rule(), set.Key, in.Name)
	if near := Nearest(set.Key, section.keys()); near != "" {
		text += didYouMean(near)
		check += fmt.Sprintf(" Did you mean '%s'?", near)
	} else if home := c.schema.home(set.Key); home != "" {
		text += fmt.Sprintf("; it belongs to [%s]", home)
		check += fmt.Sprintf(" It belongs to [%s].", home)
	}
	c.Findings = append(c.Findings, Finding{File: set.File, Line: set.Line, Kind: BadName, Text: text, check: check})
}

func (c *Config) badValue(in *sectionSettings, set setting, text string) {
	c.about(BadValue, in, set, text)
}

func (c *Config) note(in *sectionSettings, text string) {
	c.Findings = append(c.Findings, Finding{File: in.File, Line: in.Line, Kind: NotServed, Text: text})
}

// shared reports whether SSSD itself reads the file too, and serves what the
// schema does not declare: its monitor's section is then open.
func (s Schema) shared() bool {
	section := s.Match(monitorSection)
	return section != nil && section.Open
}

// whose says who serves what the schema does not declare of a section, or of
// one that it does not declare either, nil.
func (s Schema) whose(section *Section) string {
	if s.shared() && (section == nil || section.Open) {
		return "left to SSSD"
	}
	return "not served by this build"
}

// nearestSection returns the section that name is most likely a typing error
// of, or "".
func (c *Config) nearestSection(name string) string {
	patterns := slices.Clone(foreignSections)
	for i := range c.schema {
		patterns = append(patterns, c.schema[i].Name)
	}
	return nearestSection(name, patterns)
}

// home returns the section that declares key, or "".
func (s Schema) home(key string) string {
	for i := range s {
		if s[i].Option(key) != nil {
			return s[i].Name
		}
	}
	return ""
}

// keys returns the options that may stand in the section.
func (s *Section) keys() []string {
	keys := slices.Clone(foreignKeys(s.Name))
	for i := range s.Options {
		keys = append(keys, s.Options[i].Key)
	}
	return keys
}

// rule is the name of SSSD's validator for the options of the section, such
// as allowed_kcm_options and allowed_sec_users_options.
func (s *Section) rule() string {
	name := strings.TrimRight(strings.ToLower(s.Name), "/ *")
	name = strings.Replace(name, "secrets", "sec", 1)
	return "allowed_" + strings.ReplaceAll(name, "/", "_") + "_options"
}

func didYouMean(near string) string {
	if near == "" {
		return ""
	}
	return fmt.Sprintf("; did you mean '%s'?", near)
}

func lastElement(name string) string { return name[strings.LastIndexByte(name, '/')+1:] }

func isNumber(text string) bool {
	_, err := strconv.ParseUint(text, 10, 32)
	return err == nil
}
