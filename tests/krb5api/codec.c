/* Reads credentials and writes what libkrb5 makes of them: the other end of
   TestCredentialsAreReadAsLibkrb5Does. Each comes behind its length, 32 bits,
   big-endian. What goes back, too, is behind its length: 'r' if libkrb5 refuses
   the credential, or 'a' and the credential as it writes it, and then its
   client and server as texts. */
#include <arpa/inet.h>
#include <krb5.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void
put(const void *bytes, size_t length)
{
	uint32_t n = htonl((uint32_t)length);

	fwrite(&n, sizeof(n), 1, stdout);
	fwrite(bytes, 1, length, stdout);
}

static void
put_name(krb5_context context, krb5_const_principal principal)
{
	char *text = NULL;

	if (krb5_unparse_name(context, principal, &text) != 0)
		put("", 0);
	else
		put(text, strlen(text));
	krb5_free_unparsed_name(context, text);
}

static void
answer(krb5_context context, const krb5_data *given)
{
	krb5_creds *creds = NULL;
	krb5_data *written = NULL;

	if (krb5_unmarshal_credentials(context, given, &creds) != 0 || krb5_marshal_credentials(context, creds, &written) != 0) {
		put("r", 1);
		krb5_free_creds(context, creds);
		return;
	}
	put("a", 1);
	put(written->data, written->length);
	put_name(context, creds->client);
	put_name(context, creds->server);
	krb5_free_data(context, written);
	krb5_free_creds(context, creds);
}

int
main(void)
{
	krb5_context context;
	uint32_t length;

	if (krb5_init_context(&context) != 0)
		return 1;
	while (fread(&length, sizeof(length), 1, stdin) == 1) {
		krb5_data given = { .length = ntohl(length), .data = malloc(ntohl(length) + 1) };

		if (given.data == NULL || fread(given.data, 1, given.length, stdin) != given.length)
			return 1;
		answer(context, &given);
		free(given.data);
		fflush(stdout);
	}
	krb5_free_context(context);
	return 0;
}
