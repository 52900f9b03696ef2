/*
 * What an sshd does that keeps delegated tickets in KCM, as root: it has the
 * tickets in memory, becomes the user with its effective uid only, makes a new
 * cache and puts the tickets there.
 *
 *     login UID STEPS FILE
 *
 * FILE has the tickets. STEPS are letters: n new_unique, s switch, i initialize,
 * c copy, x copy as if all had expired long ago, and w wait for the end of the
 * standard input. The name of the cache is printed, before it waits or at the
 * end. Fedora's sshd does nsic.
 */
#include <krb5.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static krb5_context ctx;

static void
must(const char *what, krb5_error_code code)
{
    if (code == 0)
        return;
    fprintf(stderr, "%s: %s\n", what, krb5_get_error_message(ctx, code));
    exit(1);
}

/* Returns the tickets of a file in a cache in memory. */
static krb5_ccache
delegated(const char *file, krb5_principal *client)
{
    krb5_ccache from, to;

    must(file, krb5_cc_resolve(ctx, file, &from));
    must(file, krb5_cc_get_principal(ctx, from, client));
    must("new_unique", krb5_cc_new_unique(ctx, "MEMORY", NULL, &to));
    must("initialize", krb5_cc_initialize(ctx, to, *client));
    must("copy", krb5_cc_copy_creds(ctx, from, to));
    must("close", krb5_cc_close(ctx, from));
    return to;
}

static void
copy_expired(krb5_ccache from, krb5_ccache to)
{
    krb5_cc_cursor cursor;
    krb5_creds cred;

    must("start_seq_get", krb5_cc_start_seq_get(ctx, from, &cursor));
    while (krb5_cc_next_cred(ctx, from, &cursor, &cred) == 0) {
        if (!krb5_is_config_principal(ctx, cred.server))
            cred.times.authtime = cred.times.starttime = cred.times.endtime = cred.times.renew_till = 1000000000;
        must("store_cred", krb5_cc_store_cred(ctx, to, &cred));
        krb5_free_cred_contents(ctx, &cred);
    }
    must("end_seq_get", krb5_cc_end_seq_get(ctx, from, &cursor));
}

int
main(int argc, char **argv)
{
    krb5_principal client;
    krb5_ccache from, cc = NULL;
    const char *step;
    char *name;
    uid_t uid;

    if (argc != 4 || argv[2][0] != 'n') {
        fprintf(stderr, "usage: login UID nSTEPS FILE\n");
        return 2;
    }
    uid = (uid_t)strtoul(argv[1], NULL, 10);
    if (krb5_init_context(&ctx) != 0)
        return 1;
    from = delegated(argv[3], &client);
    if (setegid(uid) != 0 || seteuid(uid) != 0) {
        perror("seteuid");
        return 1;
    }
    for (step = argv[2]; *step != '\0'; step++) {
        if (*step == 'n')
            must("new_unique", krb5_cc_new_unique(ctx, "KCM", NULL, &cc));
        else if (*step == 's')
            must("switch", krb5_cc_switch(ctx, cc));
        else if (*step == 'i')
            must("initialize", krb5_cc_initialize(ctx, cc, client));
        else if (*step == 'c')
            must("copy", krb5_cc_copy_creds(ctx, from, cc));
        else if (*step == 'x')
            copy_expired(from, cc);
        else if (*step == 'w')
            break;
    }
    must("full_name", krb5_cc_get_full_name(ctx, cc, &name));
    printf("%s\n", name);
    fflush(stdout);
    if (*step == 'w')
        while (getchar() != EOF)
            ;
    must("close", krb5_cc_close(ctx, cc));
    must("destroy", krb5_cc_destroy(ctx, from));
    return 0;
}
