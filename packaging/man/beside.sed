# Makes the page of the form beside out of a page of the form whole, which all
# pages here are: sed -f beside.sed sssd.8 >gosssd.8
#
# Where the two say different things the page has
#
#   .\" whole {
#   what only the form whole says
#   .\" beside:
#   .\" | what only the form beside says
#   .\" }
/^\.\\" whole {$/,/^\.\\" beside:$/d
/^\.\\" }$/d
# Such lines are written as they are to be.
/^\.\\" |/{
  s/^\.\\" | \{0,1\}//
  b
}
/^\.\\" options of /b

# Options that only the form whole declares, and defaults that differ: see
# packages layout and responder, with which a test compares the result.
/^\.It Cm domains Pq list$/,/^\.It Cm socket_activation /{
  /^\.It Cm socket_activation /!d
}
/^\.It Cm ccache_storage Pq word$/,/^In force/s/^Default: secrets\.$/Default: secdb./

# What belongs to SSSD keeps its name.
s/SSSD's own sssd/SSSD's own @/g
s/systemctl restart sssd\b/systemctl restart @/g

# Names of pages, programs and paths.
s/^\.Dt \(SSSD\|SSSCTL\|SSSD\.CONF\) /.Dt GO\1 /
s/^\.\(Nm\|Xr\) \(sssd\|sssctl\|sssd\.conf\)\( \|$\)/.\1 go\2\3/
s/^# sssd --/# \/usr\/libexec\/gosssd\/gosssd --/
s/\(Ql \)sssd --/\1\/usr\/libexec\/gosssd\/gosssd --/
s/Fl -sssd\b/Fl -gosssd/
s/\/run\/sssd\.pid/\/run\/gosssd.pid/g
s/sssd\/sssd\.log/sssd\/gosssd.log/g
s/\bconfig\.db\b/gosssd.db/g
s/\bsbus-monitor\b/gosssd-monitor/g
s/\b90-sssctl-/90-gosssctl-/g
s/\bsssctl\b/gosssctl/g
s/gogosssctl/gosssctl/g
s/\(^\|[ (]\)sssd\([ ,;:)']\|\.$\|\. \|$\)/\1gosssd\2/g

s/systemctl restart @/systemctl restart sssd/g
s/SSSD's own @/SSSD's own sssd/g
