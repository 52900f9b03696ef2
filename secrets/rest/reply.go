package rest

import (
	"context"
	"errors"
	"fmt"
	"html"
	"net/http"
	"strconv"

	"gosssd/responder"
	"gosssd/secrets/quota"
	"gosssd/secrets/records"
	"gosssd/secrets/vault"
)

// refusal is an error with the status it is answered with and the sentence the
// client is told.
type refusal struct {
	status int
	text   string
}

func (r *refusal) Error() string { return r.text }

// What requests are refused with (sssd-secrets(5) and the codes of 1.16).
var (
	errBadRequest = &refusal{http.StatusBadRequest, "The request was not understood."}
	errForbidden  = &refusal{http.StatusForbidden, "This is not yours to ask for."}
	errNotFound   = &refusal{http.StatusNotFound, "There is nothing of that name."}
	errNotSimple  = &refusal{http.StatusNotAcceptable, "Secrets are of type simple only."}
	errNotText    = &refusal{http.StatusNotAcceptable, "The secret is not text; ask for application/octet-stream."}
	errTooDeep    = &refusal{http.StatusNotAcceptable, "Containers are nested too deep."}
	errExists     = &refusal{http.StatusConflict, "The name is taken."}
	errNotEmpty   = &refusal{http.StatusConflict, "The container is not empty."}
	errTooLarge   = &refusal{http.StatusRequestEntityTooLarge, "The secret is too large."}
	errTooLong    = &refusal{http.StatusRequestURITooLong, "The name is too long."}
	errStale      = &refusal{http.StatusPreconditionFailed, "Somebody has loaded the records since."}
)

// success is what a client is told when there is nothing else to say.
const success = "Success"

// statusOf turns an error into a status and a sentence for the client. What
// went wrong inside is for the log only.
func statusOf(err error) (int, string) {
	var refused *refusal
	var size *vault.SizeError
	var body *http.MaxBytesError
	switch {
	case err == nil:
		return http.StatusOK, success
	case errors.As(err, &refused):
		return refused.status, refused.text
	case errors.As(err, &size), errors.As(err, &body):
		return errTooLarge.status, errTooLarge.text
	case errors.Is(err, quota.ErrTooLarge), errors.Is(err, records.ErrTooLong):
		return errTooLarge.status, errTooLarge.text
	case errors.Is(err, quota.ErrAllSecrets):
		return http.StatusInsufficientStorage, "All users together have too many secrets."
	case errors.Is(err, quota.ErrUserSecrets):
		return http.StatusInsufficientStorage, "The user has too many secrets."
	case errors.Is(err, quota.ErrUserContainers):
		return http.StatusInsufficientStorage, "The user has too many containers."
	case errors.Is(err, records.ErrMalformed):
		return http.StatusBadRequest, err.Error()
	case errors.Is(err, responder.ErrBudget):
		return http.StatusServiceUnavailable, "Other requests of this user take all memory that there is for them."
	case errors.Is(err, vault.ErrChanged):
		return http.StatusConflict, "The records changed while they were being read."
	case errors.Is(err, vault.ErrFull):
		return http.StatusInsufficientStorage, "The disk is full."
	case errors.Is(err, context.DeadlineExceeded):
		return http.StatusGatewayTimeout, "It took too long."
	case errors.Is(err, vault.ErrDamaged):
		return http.StatusInternalServerError, "The stored secrets are damaged."
	}
	return http.StatusInternalServerError, "The service failed."
}

// page is the body of an answer that is only a status, as 1.16 sent it.
func page(status int, text string) string {
	reason := http.StatusText(status)
	if status == http.StatusRequestEntityTooLarge {
		reason = "Payload Too Large"
	}
	title := fmt.Sprintf("%d %s", status, reason)
	return fmt.Sprintf("<html>\n<head>\n<title>%s</title></head>\n<body>\n<h1>%s</h1>\n<p>%s</p>\n</body>\n</html>\n",
		title, reason, html.EscapeString(text))
}

// answer writes a whole answer.
func answer(w http.ResponseWriter, status int, contentType string, body []byte) {
	header := w.Header()
	header["Date"] = nil // 1.16 sent none
	header.Set("Content-Type", contentType)
	header.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body) // a client that is gone is seen at its next read
}

// answerStatus writes an answer that is only a status.
func answerStatus(w http.ResponseWriter, status int, text string) {
	answer(w, status, "text/html", []byte(page(status, text)))
}
