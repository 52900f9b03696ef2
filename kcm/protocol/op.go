package protocol

import "strconv"

// Op is the number of an operation.
type Op uint16

// The operations of Heimdal's kcm and, from 13001 on, of MIT's extension.
const (
	OpNoop             Op = 0
	OpGetName          Op = 1
	OpResolve          Op = 2
	OpGenNew           Op = 3
	OpInitialize       Op = 4
	OpDestroy          Op = 5
	OpStore            Op = 6
	OpRetrieve         Op = 7
	OpGetPrincipal     Op = 8
	OpGetCredUUIDList  Op = 9
	OpGetCredByUUID    Op = 10
	OpRemoveCred       Op = 11
	OpSetFlags         Op = 12
	OpChown            Op = 13
	OpChmod            Op = 14
	OpGetInitialTicket Op = 15
	OpGetTicket        Op = 16
	OpMoveCache        Op = 17
	OpGetCacheUUIDList Op = 18
	OpGetCacheByUUID   Op = 19
	OpGetDefaultCache  Op = 20
	OpSetDefaultCache  Op = 21
	OpGetKDCOffset     Op = 22
	OpSetKDCOffset     Op = 23
	OpAddNTLMCred      Op = 24
	OpHaveNTLMCred     Op = 25
	OpDelNTLMCred      Op = 26
	OpDoNTLMAuth       Op = 27
	OpGetNTLMUserList  Op = 28
	OpGetCredList      Op = 13001
	OpReplace          Op = 13002
)

var opNames = map[Op]string{
	OpNoop:             "NOOP",
	OpGetName:          "GET_NAME",
	OpResolve:          "RESOLVE",
	OpGenNew:           "GEN_NEW",
	OpInitialize:       "INITIALIZE",
	OpDestroy:          "DESTROY",
	OpStore:            "STORE",
	OpRetrieve:         "RETRIEVE",
	OpGetPrincipal:     "GET_PRINCIPAL",
	OpGetCredUUIDList:  "GET_CRED_UUID_LIST",
	OpGetCredByUUID:    "GET_CRED_BY_UUID",
	OpRemoveCred:       "REMOVE_CRED",
	OpSetFlags:         "SET_FLAGS",
	OpChown:            "CHOWN",
	OpChmod:            "CHMOD",
	OpGetInitialTicket: "GET_INITIAL_TICKET",
	OpGetTicket:        "GET_TICKET",
	OpMoveCache:        "MOVE_CACHE",
	OpGetCacheUUIDList: "GET_CACHE_UUID_LIST",
	OpGetCacheByUUID:   "GET_CACHE_BY_UUID",
	OpGetDefaultCache:  "GET_DEFAULT_CACHE",
	OpSetDefaultCache:  "SET_DEFAULT_CACHE",
	OpGetKDCOffset:     "GET_KDC_OFFSET",
	OpSetKDCOffset:     "SET_KDC_OFFSET",
	OpAddNTLMCred:      "ADD_NTLM_CRED",
	OpHaveNTLMCred:     "HAVE_NTLM_CRED",
	OpDelNTLMCred:      "DEL_NTLM_CRED",
	OpDoNTLMAuth:       "DO_NTLM_AUTH",
	OpGetNTLMUserList:  "GET_NTLM_USER_LIST",
	OpGetCredList:      "GET_CRED_LIST",
	OpReplace:          "REPLACE",
}

// String returns the operation's name, or its number if it has none.
func (op Op) String() string {
	if name, known := opNames[op]; known {
		return name
	}
	return strconv.Itoa(int(op))
}

// OpByName returns the operation called name, as String spells it.
func OpByName(name string) (Op, bool) {
	for op, known := range opNames {
		if known == name {
			return op, true
		}
	}
	n, err := strconv.ParseUint(name, 10, 16)
	return Op(n), err == nil
}
