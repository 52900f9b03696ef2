/*
 * Runs the whole krb5_cc_* and krb5_cccol_* API of libkrb5 on the cache that
 * the first argument names and prints a transcript, so that types of caches
 * can be compared. The second argument names the collection that the cache is
 * in. Not called are krb5_cc_gen_new(), which only ever makes a FILE, and
 * krb5_cc_get_flags(), which is declared but cannot be linked to.
 */
#include "print.h"

static const char *full_name;
static const char *type; /* the part before the colon */

static krb5_keyblock key18 = { 0, ENCTYPE_AES256_CTS_HMAC_SHA1_96, 32,
                               (krb5_octet *)"kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk" };
static krb5_keyblock key17 = { 0, ENCTYPE_AES128_CTS_HMAC_SHA1_96, 16, (krb5_octet *)"llllllllllllllll" };
static krb5_address address = { 0, ADDRTYPE_INET, 4, (krb5_octet *)"1234" };
static krb5_address *addresses[] = { &address, NULL };
static krb5_authdata element = { 0, 1, 5, (krb5_octet *)"limit" };
static krb5_authdata *authdata[] = { &element, NULL };

/* Returns an ordinary ticket of alice's for a service. */
static krb5_creds
ticket(const char *server, const char *contents)
{
    krb5_creds cred;

    memset(&cred, 0, sizeof(cred));
    cred.client = principal("alice@EXAMPLE.TEST");
    cred.server = principal(server);
    cred.keyblock = key18;
    cred.times.authtime = cred.times.starttime = 2000000000;
    cred.times.endtime = 2000036000;
    cred.times.renew_till = 2000086400;
    cred.ticket_flags = TKT_FLG_FORWARDABLE | TKT_FLG_RENEWABLE;
    cred.ticket = bytes(contents);
    return cred;
}

static krb5_ccache
resolve(const char *name)
{
    krb5_ccache cc;

    must(name, krb5_cc_resolve(ctx, name, &cc));
    return cc;
}

static void
names(krb5_ccache cc)
{
    krb5_ccache again;
    char *full, *full_again;

    line("get_type", "%s", strcmp(krb5_cc_get_type(ctx, cc), type) == 0 ? "as given" : "another");
    line("get_name", "%s", strcmp(krb5_cc_get_name(ctx, cc), full_name + strlen(type) + 1) == 0 ? "as given" : "another");
    must("get_full_name", krb5_cc_get_full_name(ctx, cc, &full));
    line("get_full_name", "%s", strcmp(full, full_name) == 0 ? "as given" : "another");
    must("dup", krb5_cc_dup(ctx, cc, &again));
    must("get_full_name", krb5_cc_get_full_name(ctx, again, &full_again));
    line("dup", "%s", strcmp(full, full_again) == 0 ? "same name" : "another name");
    say_principal("dup.get_principal", again);
    says("dup.close", krb5_cc_close(ctx, again));
    krb5_free_string(ctx, full);
    krb5_free_string(ctx, full_again);
}

/* Everything one can ask of a cache that has not been initialized. */
static void
not_initialized(krb5_ccache cc)
{
    krb5_creds tag, found;
    krb5_data value;

    tag = ticket("host/a@EXAMPLE.TEST", "");
    say_principal("before.get_principal", cc);
    say_all("before.iterate", cc);
    says("before.retrieve", krb5_cc_retrieve_cred(ctx, cc, 0, &tag, &found));
    says("before.remove_cred", krb5_cc_remove_cred(ctx, cc, 0, &tag));
    says("before.get_config", krb5_cc_get_config(ctx, cc, NULL, "key", &value));
    says("before.set_flags", krb5_cc_set_flags(ctx, cc, 0));
}

static void
store(krb5_ccache cc)
{
    krb5_creds tgt, plain, user, other, limited;

    tgt = ticket("krbtgt/EXAMPLE.TEST@EXAMPLE.TEST", "tgt");
    tgt.addresses = addresses;
    says("store.tgt", krb5_cc_store_cred(ctx, cc, &tgt));
    user = ticket("host/u@EXAMPLE.TEST", "user-to-user");
    user.is_skey = 1;
    user.second_ticket = bytes("of-u");
    says("store.user_to_user", krb5_cc_store_cred(ctx, cc, &user));
    plain = ticket("host/u@EXAMPLE.TEST", "plain");
    says("store.plain", krb5_cc_store_cred(ctx, cc, &plain));
    other = ticket("host/a@OTHER.TEST", "other");
    other.keyblock = key17;
    other.times.renew_till = 0;
    other.ticket_flags = 0;
    says("store.other_realm", krb5_cc_store_cred(ctx, cc, &other));
    limited = ticket("host/l@EXAMPLE.TEST", "limited");
    limited.authdata = authdata;
    says("store.limited", krb5_cc_store_cred(ctx, cc, &limited));
    say_all("stored", cc);
}

static void
retrieve(krb5_ccache cc, const char *label, krb5_flags flags, krb5_creds tag)
{
    krb5_creds found;
    krb5_error_code code;

    code = krb5_cc_retrieve_cred(ctx, cc, flags, &tag, &found);
    if (code != 0) {
        says(label, code);
        return;
    }
    say_cred(label, &found);
    krb5_free_cred_contents(ctx, &found);
}

static void
retrieve_by_names(krb5_ccache cc)
{
    krb5_creds tag;

    tag = ticket("host/a@OTHER.TEST", "");
    retrieve(cc, "retrieve.names", 0, tag);
    tag.client = NULL;
    retrieve(cc, "retrieve.server", 0, tag);
    tag.client = principal("bob@EXAMPLE.TEST");
    retrieve(cc, "retrieve.another_client", 0, tag);
    tag.server = NULL;
    tag.client = principal("alice@EXAMPLE.TEST");
    retrieve(cc, "retrieve.client", 0, tag);
    tag = ticket("host/a@EXAMPLE.TEST", "");
    retrieve(cc, "retrieve.another_realm", 0, tag);
    retrieve(cc, "retrieve.SRV_NAMEONLY", KRB5_TC_MATCH_SRV_NAMEONLY, tag);
    retrieve(cc, "retrieve.nobody", KRB5_TC_MATCH_SRV_NAMEONLY, ticket("host/b@EXAMPLE.TEST", ""));
}

static void
retrieve_by_times_and_flags(krb5_ccache cc)
{
    krb5_creds tag;

    tag = ticket("host/u@EXAMPLE.TEST", "");
    retrieve(cc, "retrieve.TIMES", KRB5_TC_MATCH_TIMES, tag);
    retrieve(cc, "retrieve.TIMES_EXACT", KRB5_TC_MATCH_TIMES_EXACT, tag);
    tag.times.endtime--;
    retrieve(cc, "retrieve.TIMES.shorter", KRB5_TC_MATCH_TIMES, tag);
    retrieve(cc, "retrieve.TIMES_EXACT.shorter", KRB5_TC_MATCH_TIMES_EXACT, tag);
    tag.times.endtime += 2;
    retrieve(cc, "retrieve.TIMES.longer", KRB5_TC_MATCH_TIMES, tag);
    memset(&tag.times, 0, sizeof(tag.times));
    retrieve(cc, "retrieve.TIMES.none", KRB5_TC_MATCH_TIMES, tag);
    tag.times.renew_till = 2000086401;
    retrieve(cc, "retrieve.TIMES.renewable_for_longer", KRB5_TC_MATCH_TIMES, tag);
    retrieve(cc, "retrieve.FLAGS", KRB5_TC_MATCH_FLAGS, tag);
    retrieve(cc, "retrieve.FLAGS_EXACT", KRB5_TC_MATCH_FLAGS_EXACT, tag);
    tag.ticket_flags = TKT_FLG_RENEWABLE;
    retrieve(cc, "retrieve.FLAGS.some", KRB5_TC_MATCH_FLAGS, tag);
    retrieve(cc, "retrieve.FLAGS_EXACT.some", KRB5_TC_MATCH_FLAGS_EXACT, tag);
    tag.ticket_flags |= TKT_FLG_PROXIABLE;
    retrieve(cc, "retrieve.FLAGS.more", KRB5_TC_MATCH_FLAGS, tag);
}

static void
retrieve_by_contents(krb5_ccache cc)
{
    krb5_creds tag;

    tag = ticket("host/u@EXAMPLE.TEST", "");
    retrieve(cc, "retrieve.IS_SKEY.no", KRB5_TC_MATCH_IS_SKEY, tag);
    tag.is_skey = 1;
    retrieve(cc, "retrieve.IS_SKEY.yes", KRB5_TC_MATCH_IS_SKEY, tag);
    retrieve(cc, "retrieve.IS_SKEY.not_asked", 0, tag);
    retrieve(cc, "retrieve.2ND_TKT.none", KRB5_TC_MATCH_IS_SKEY | KRB5_TC_MATCH_2ND_TKT, tag);
    tag.second_ticket = bytes("of-u");
    retrieve(cc, "retrieve.2ND_TKT", KRB5_TC_MATCH_IS_SKEY | KRB5_TC_MATCH_2ND_TKT, tag);
    tag = ticket("host/l@EXAMPLE.TEST", "");
    retrieve(cc, "retrieve.AUTHDATA.none", KRB5_TC_MATCH_AUTHDATA, tag);
    tag.authdata = authdata;
    retrieve(cc, "retrieve.AUTHDATA", KRB5_TC_MATCH_AUTHDATA, tag);
    tag = ticket("host/a@OTHER.TEST", "");
    retrieve(cc, "retrieve.KTYPE.another", KRB5_TC_MATCH_KTYPE, tag);
    tag.keyblock = key17;
    retrieve(cc, "retrieve.KTYPE", KRB5_TC_MATCH_KTYPE, tag);
    retrieve(cc, "retrieve.SUPPORTED_KTYPES", KRB5_TC_SUPPORTED_KTYPES, tag);
}

static void
remove_some(krb5_ccache cc)
{
    krb5_creds tag;

    tag = ticket("host/u@EXAMPLE.TEST", "");
    tag.is_skey = 1;
    says("remove_cred.IS_SKEY", krb5_cc_remove_cred(ctx, cc, KRB5_TC_MATCH_IS_SKEY, &tag));
    say_all("remove_cred.IS_SKEY", cc);
    tag = ticket("host/a@EXAMPLE.TEST", "");
    says("remove_cred.SRV_NAMEONLY", krb5_cc_remove_cred(ctx, cc, KRB5_TC_MATCH_SRV_NAMEONLY, &tag));
    say_all("remove_cred.SRV_NAMEONLY", cc);
    says("remove_cred.none_left", krb5_cc_remove_cred(ctx, cc, KRB5_TC_MATCH_SRV_NAMEONLY, &tag));
    tag = ticket("host/u@EXAMPLE.TEST", "renewed");
    says("store.again", krb5_cc_store_cred(ctx, cc, &tag));
    say_all("store.again", cc);
}

static void
config_is(const char *label, krb5_ccache cc, krb5_principal p, const char *key)
{
    krb5_data value;
    krb5_error_code code;

    code = krb5_cc_get_config(ctx, cc, p, key, &value);
    if (code != 0) {
        says(label, code);
        return;
    }
    line(label, "%.*s", (int)value.length, value.data);
    krb5_free_data_contents(ctx, &value);
}

static void
config(krb5_ccache cc)
{
    krb5_principal p = principal("krbtgt/EXAMPLE.TEST@EXAMPLE.TEST");
    krb5_data yes = bytes("yes"), no = bytes("no");

    config_is("get_config.none", cc, NULL, "fast_avail");
    says("set_config", krb5_cc_set_config(ctx, cc, NULL, "pa_config_data", &yes));
    config_is("get_config", cc, NULL, "pa_config_data");
    says("set_config.principal", krb5_cc_set_config(ctx, cc, p, "fast_avail", &yes));
    config_is("get_config.principal", cc, p, "fast_avail");
    says("set_config.again", krb5_cc_set_config(ctx, cc, p, "fast_avail", &no));
    config_is("get_config.again", cc, p, "fast_avail");
    config_is("get_config.without_principal", cc, NULL, "fast_avail");
    says("set_config.clear", krb5_cc_set_config(ctx, cc, p, "fast_avail", NULL));
    config_is("get_config.cleared", cc, p, "fast_avail");
    says("set_config.clear_again", krb5_cc_set_config(ctx, cc, p, "fast_avail", NULL));
    config_is("get_config.the_other", cc, NULL, "pa_config_data");
    say_all("configured", cc);
}

/* The clock's difference to the KDC's goes with the cache. */
static void
offset(void)
{
    krb5_ccache cc = resolve(full_name);
    krb5_timestamp seconds;
    krb5_int32 micro;
    krb5_context first = ctx;

    do { /* until no second ends in between */
        must("set_real_time", krb5_set_real_time(ctx, time(NULL) + 3600, -1));
        must("get_time_offsets", krb5_get_time_offsets(ctx, &seconds, &micro));
    } while (seconds != 3600);
    says("offset.initialize", krb5_cc_initialize(ctx, cc, principal("alice@EXAMPLE.TEST")));
    must("close", krb5_cc_close(ctx, cc));
    must("init_context", krb5_init_context(&ctx));
    cc = resolve(full_name);
    say_principal("offset.get_principal", cc);
    say_all("offset.iterate", cc);
    must("get_time_offsets", krb5_get_time_offsets(ctx, &seconds, &micro));
    line("offset", "%d", seconds);
    must("close", krb5_cc_close(ctx, cc));
    krb5_free_context(ctx);
    ctx = first;
    must("set_real_time", krb5_set_real_time(ctx, time(NULL), -1));
}

/* Makes a cache under a new name. */
static krb5_ccache
unique(const char *label)
{
    krb5_ccache cc;

    if (says(label, krb5_cc_new_unique(ctx, type, NULL, &cc)) != 0)
        exit(1);
    return cc;
}

static void
copy_and_move(krb5_ccache cc)
{
    krb5_ccache copy = unique("new_unique"), target = unique("new_unique.another");

    line("new_unique.names", "%s", strcmp(krb5_cc_get_name(ctx, copy), krb5_cc_get_name(ctx, target)) != 0 ? "differ" : "same");
    line("new_unique.type", "%s", strcmp(krb5_cc_get_type(ctx, copy), type) == 0 ? "as asked" : "another");
    say_principal("new_unique.get_principal", copy);
    says("copy.initialize", krb5_cc_initialize(ctx, copy, principal("alice@EXAMPLE.TEST")));
    says("copy_creds", krb5_cc_copy_creds(ctx, cc, copy));
    say_all("copy_creds", copy);
    says("move.initialize", krb5_cc_initialize(ctx, target, principal("bob@EXAMPLE.TEST")));
    says("move.overwritten", krb5_cc_store_cred(ctx, target, &(krb5_creds){ .client = principal("bob@EXAMPLE.TEST"),
         .server = principal("host/gone@EXAMPLE.TEST"), .keyblock = key18, .ticket = bytes("gone") }));
    says("move", krb5_cc_move(ctx, copy, target)); /* closes the first, too */
    say_principal("move.get_principal", target);
    say_all("move", target);
    says("move.destroy", krb5_cc_destroy(ctx, target));
}

static int
by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Prints whose caches are in the collection: the first, and all in the order
 * of the alphabet. */
static void
say_collection(const char *label)
{
    krb5_cccol_cursor cursor;
    krb5_ccache cc;
    krb5_principal p;
    char *owners[16], first[64] = "nobody's";
    size_t n = 0, i;

    must("cursor_new", krb5_cccol_cursor_new(ctx, &cursor));
    while (krb5_cccol_cursor_next(ctx, cursor, &cc) == 0 && cc != NULL) {
        if (krb5_cc_get_principal(ctx, cc, &p) == 0) {
            must("unparse", krb5_unparse_name(ctx, p, &owners[n]));
            if (n++ == 0)
                snprintf(first, sizeof(first), "%s", owners[0]);
            krb5_free_principal(ctx, p);
        }
        krb5_cc_close(ctx, cc);
    }
    must("cursor_free", krb5_cccol_cursor_free(ctx, &cursor));
    line(label, "first %s", first);
    qsort(owners, n, sizeof(owners[0]), by_text);
    printf("%s: all", label);
    for (i = 0; i < n; i++) {
        printf(" %s", owners[i]);
        krb5_free_unparsed_name(ctx, owners[i]);
    }
    printf("\n");
}

static void
find_in_collection(const char *label, const char *client)
{
    krb5_ccache cc;
    krb5_error_code code;

    code = krb5_cc_cache_match(ctx, principal(client), &cc);
    if (code != 0) {
        says(label, code);
        return;
    }
    say_principal(label, cc);
    must("close", krb5_cc_close(ctx, cc));
}

/* Prints the cache that is the default. */
static void
say_default(const char *label)
{
    krb5_ccache cc;

    if (krb5_cc_default(ctx, &cc) != 0)
        exit(1);
    say_principal(label, cc);
    must("close", krb5_cc_close(ctx, cc));
}

static void
collection(const char *name)
{
    krb5_ccache alice = resolve(full_name), bob = unique("collection.new_unique");
    krb5_creds tgt = ticket("krbtgt/EXAMPLE.TEST@EXAMPLE.TEST", "tgt");
    krb5_ccache chosen;
    krb5_principal p;

    says("set_default_name", krb5_cc_set_default_name(ctx, name));
    line("default_name", "%s", strcmp(krb5_cc_default_name(ctx), name) == 0 ? "as set" : "another");
    must("store", krb5_cc_store_cred(ctx, alice, &tgt));
    must("initialize", krb5_cc_initialize(ctx, bob, principal("bob@EXAMPLE.TEST")));
    says("collection.have_content", krb5_cccol_have_content(ctx));
    say_default("collection.default");
    say_collection("collection");
    line("support_switch", "%s", krb5_cc_support_switch(ctx, type) ? "yes" : "no");
    says("switch", krb5_cc_switch(ctx, bob));
    say_default("switch.default");
    say_collection("switch.collection");
    find_in_collection("cache_match.alice", "alice@EXAMPLE.TEST");
    find_in_collection("cache_match.bob", "bob@EXAMPLE.TEST");
    find_in_collection("cache_match.nobody", "nobody@EXAMPLE.TEST");
    says("select", krb5_cc_select(ctx, principal("host/a@NOWHERE.TEST"), &chosen, &p));
    says("destroy.bob", krb5_cc_destroy(ctx, bob));
    say_collection("destroy.collection");
    says("destroy.alice", krb5_cc_destroy(ctx, alice));
    says("destroy.have_content", krb5_cccol_have_content(ctx));
    say_default("destroy.default");
    alice = resolve(full_name);
    says("destroy.again", krb5_cc_destroy(ctx, alice));
}

int
main(int argc, char **argv)
{
    krb5_ccache cc, other;

    if (argc != 3) {
        fprintf(stderr, "usage: api CACHE COLLECTION\n");
        return 2;
    }
    full_name = argv[1];
    type = strndup(full_name, strcspn(full_name, ":"));
    if (krb5_init_context(&ctx) != 0)
        return 1;
    cc = resolve(full_name);
    not_initialized(cc);
    says("initialize", krb5_cc_initialize(ctx, cc, principal("alice@EXAMPLE.TEST")));
    names(cc);
    says("set_flags", krb5_cc_set_flags(ctx, cc, KRB5_TC_OPENCLOSE));
    say_all("empty", cc);
    store(cc);
    retrieve_by_names(cc);
    retrieve_by_times_and_flags(cc);
    retrieve_by_contents(cc);
    remove_some(cc);
    config(cc);
    copy_and_move(cc);
    other = resolve(full_name);
    says("close", krb5_cc_close(ctx, cc));
    say_principal("another_handle.get_principal", other);
    says("initialize.again", krb5_cc_initialize(ctx, other, principal("carol@EXAMPLE.TEST")));
    say_principal("initialize.again", other);
    say_all("initialize.again", other);
    must("close", krb5_cc_close(ctx, other));
    offset();
    collection(argv[2]);
    krb5_free_context(ctx);
    return 0;
}
