/* Reads files as libkrb5 does and prints the values of relations.
 *
 * Standard input has a line per question: a file's path and the names of
 * section, subsections and relation, separated by tabs. The answer is a line:
 * "error" if the file cannot be read, or the values, each behind a tab, with
 * control characters as \xHH. */
#include <profile.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void answer(char *question)
{
    const char *names[16];
    int n = 0;
    char *path = strtok(question, "\t");
    for (char *name; n < 15 && (name = strtok(NULL, "\t")) != NULL; n++)
        names[n] = name;
    names[n] = NULL;

    profile_t profile;
    const_profile_filespec_t files[] = { path, NULL };
    if (profile_init(files, &profile) != 0) {
        puts("error");
        return;
    }
    char **values = NULL;
    if (profile_get_values(profile, names, &values) == 0) {
        for (char **v = values; *v != NULL; v++) {
            putchar('\t');
            for (const unsigned char *c = (const unsigned char *)*v; *c; c++)
                if (*c < 32 || *c == 127)
                    printf("\\x%02x", *c);
                else
                    putchar(*c);
        }
        profile_free_list(values);
    }
    putchar('\n');
    profile_release(profile);
}

int main(void)
{
    static char line[1 << 16];
    while (fgets(line, sizeof line, stdin) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        answer(line);
    }
    return 0;
}
