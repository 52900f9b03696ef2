/*
 * What the transcript is made of: one line per call, its label, its code by
 * name, and its result with the parts masked that belong to the type of cache.
 */
#include <krb5.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static krb5_context ctx;

struct code {
    krb5_error_code code;
    const char *name;
};

static const struct code codes[] = {
    { 0, "ok" },
    { KRB5_CC_BADNAME, "KRB5_CC_BADNAME" },
    { KRB5_CC_UNKNOWN_TYPE, "KRB5_CC_UNKNOWN_TYPE" },
    { KRB5_CC_NOTFOUND, "KRB5_CC_NOTFOUND" },
    { KRB5_CC_END, "KRB5_CC_END" },
    { KRB5_CC_IO, "KRB5_CC_IO" },
    { KRB5_FCC_PERM, "KRB5_FCC_PERM" },
    { KRB5_FCC_NOFILE, "KRB5_FCC_NOFILE" },
    { KRB5_FCC_INTERNAL, "KRB5_FCC_INTERNAL" },
    { KRB5_CC_WRITE, "KRB5_CC_WRITE" },
    { KRB5_CC_NOMEM, "KRB5_CC_NOMEM" },
    { KRB5_CC_FORMAT, "KRB5_CC_FORMAT" },
    { KRB5_CC_NOT_KTYPE, "KRB5_CC_NOT_KTYPE" },
    { KRB5_CC_NOSUPP, "KRB5_CC_NOSUPP" },
};

static const char *
name_of(krb5_error_code code)
{
    static char number[32];
    size_t i;

    for (i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
        if (codes[i].code == code)
            return codes[i].name;
    }
    snprintf(number, sizeof(number), "%ld", (long)code);
    return number;
}

static void
line(const char *label, const char *format, ...)
{
    va_list args;

    printf("%s: ", label);
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    printf("\n");
}

/* Prints the code of a call, and returns it. */
static krb5_error_code
says(const char *label, krb5_error_code code)
{
    line(label, "%s", name_of(code));
    return code;
}

/* For what must not fail, or the transcript means nothing. */
static void
must(const char *what, krb5_error_code code)
{
    if (code == 0)
        return;
    fprintf(stderr, "%s: %s: %s\n", what, name_of(code), krb5_get_error_message(ctx, code));
    exit(1);
}

static krb5_principal
principal(const char *text)
{
    krb5_principal p;

    must(text, krb5_parse_name(ctx, text, &p));
    return p;
}

static krb5_data
bytes(const char *text)
{
    krb5_data d = { 0, strlen(text), (char *)text };

    return d;
}

/* Prints every field of a credential. */
static void
say_cred(const char *label, const krb5_creds *cred)
{
    char *client, *server;
    krb5_address **address;
    krb5_authdata **element;

    must("client", krb5_unparse_name(ctx, cred->client, &client));
    must("server", krb5_unparse_name(ctx, cred->server, &server));
    printf("%s: %s -> %s etype %d key %02x*%u times %d %d %d %d skey %u flags %08x", label, client, server,
           cred->keyblock.enctype, cred->keyblock.length > 0 ? cred->keyblock.contents[0] : 0,
           cred->keyblock.length, cred->times.authtime, cred->times.starttime, cred->times.endtime,
           cred->times.renew_till, cred->is_skey, (unsigned)cred->ticket_flags);
    for (address = cred->addresses; address != NULL && *address != NULL; address++)
        printf(" address %d:%.*s", (*address)->addrtype, (int)(*address)->length, (char *)(*address)->contents);
    for (element = cred->authdata; element != NULL && *element != NULL; element++)
        printf(" authdata %d:%.*s", (*element)->ad_type, (int)(*element)->length, (char *)(*element)->contents);
    printf(" ticket %.*s second %.*s\n", (int)cred->ticket.length, cred->ticket.data,
           (int)cred->second_ticket.length, cred->second_ticket.data);
    krb5_free_unparsed_name(ctx, client);
    krb5_free_unparsed_name(ctx, server);
}

/* Prints all credentials of a cache, in its order. */
static void
say_all(const char *label, krb5_ccache cc)
{
    krb5_cc_cursor cursor;
    krb5_creds cred;
    krb5_error_code code;

    code = krb5_cc_start_seq_get(ctx, cc, &cursor);
    if (code != 0) {
        line(label, "start %s", name_of(code));
        return;
    }
    while ((code = krb5_cc_next_cred(ctx, cc, &cursor, &cred)) == 0) {
        say_cred(label, &cred);
        krb5_free_cred_contents(ctx, &cred);
    }
    line(label, "next %s, end %s", name_of(code), name_of(krb5_cc_end_seq_get(ctx, cc, &cursor)));
}

/* Prints whose cache it is. */
static void
say_principal(const char *label, krb5_ccache cc)
{
    krb5_principal p;
    krb5_error_code code;
    char *text;

    code = krb5_cc_get_principal(ctx, cc, &p);
    if (code != 0) {
        says(label, code);
        return;
    }
    must("principal", krb5_unparse_name(ctx, p, &text));
    line(label, "%s", text);
    krb5_free_unparsed_name(ctx, text);
    krb5_free_principal(ctx, p);
}
