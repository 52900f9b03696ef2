//go:build ignore

/*
 * Prints what libini makes of each file named on standard input, with the
 * flags SSSD reads sssd.conf with. One record per file:
 *
 *   file NAME
 *   open ERRNO            the file was refused before it was parsed
 *   error CODE LINE       the parser stopped here
 *   refused ERRNO         the parser stopped without saying where
 *   section HEX
 *   key LINE HEX HEX      name and value
 *   end
 *
 * HEX is lower-case hexadecimal, "-" for the empty string.
 */
#include <stdio.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <ini_configobj.h>
#include <ini_valueobj.h>

static void print_hex(const char *text)
{
    if (text == NULL || *text == '\0') {
        fputs(" -", stdout);
        return;
    }
    putchar(' ');
    for (; *text != '\0'; text++) {
        printf("%02x", (unsigned char)*text);
    }
}

/* libini hands its errors out as text only: "Error (5) on line 2: ...". */
static void print_errors(struct ini_cfgobj *config, int refused)
{
    char **errors = NULL;

    if (ini_config_error_count(config) == 0 || ini_config_get_errors(config, &errors) != 0) {
        printf("refused %d\n", refused);
        return;
    }
    for (char **error = errors; *error != NULL; error++) {
        int code, line;
        if (sscanf(*error, "Error (%d) on line %d:", &code, &line) == 2) {
            printf("error %d %d\n", code, line);
        } else {
            printf("unreadable error: %s\n", *error);
        }
    }
    ini_config_free_errors(errors);
}

static void print_section(struct ini_cfgobj *config, const char *section)
{
    int size = 0, error = 0;
    char **keys = ini_get_attribute_list(config, section, &size, &error);

    fputs("section", stdout);
    print_hex(section);
    putchar('\n');
    for (int i = 0; keys != NULL && i < size; i++) {
        struct value_obj *value = NULL;
        uint32_t line = 0;
        if (ini_get_config_valueobj(section, keys[i], config, INI_GET_FIRST_VALUE, &value) != 0 || value == NULL) {
            printf("unreadable key: %s\n", keys[i]);
            continue;
        }
        value_get_line(value, &line);
        printf("key %u", line);
        print_hex(keys[i]);
        print_hex(ini_get_const_string_config_value(value, &error));
        putchar('\n');
    }
    if (keys != NULL) {
        ini_free_attribute_list(keys);
    }
}

static void print_file(const char *name)
{
    struct ini_cfgfile *file = NULL;
    struct ini_cfgobj *config = NULL;
    char **sections;
    int size = 0, error;

    printf("file %s\n", name);
    error = ini_config_file_open(name, INI_META_NONE, &file);
    if (error != 0) {
        printf("open %d\nend\n", error);
        return;
    }
    if (ini_config_create(&config) != 0) {
        fputs("oracle: no memory\n", stderr);
        exit(1);
    }
    error = ini_config_parse(file, INI_STOP_ON_ANY, INI_MV1S_OVERWRITE, INI_PARSE_NOWRAP, config);
    if (error != 0) {
        print_errors(config, error);
    } else {
        sections = ini_get_section_list(config, &size, &error);
        for (int i = 0; sections != NULL && i < size; i++) {
            print_section(config, sections[i]);
        }
        if (sections != NULL) {
            ini_free_section_list(sections);
        }
    }
    puts("end");
    ini_config_destroy(config);
    ini_config_file_destroy(file);
}

int main(void)
{
    char name[4096];

    while (fgets(name, sizeof name, stdin) != NULL) {
        name[strcspn(name, "\n")] = '\0';
        print_file(name);
    }
    return fflush(stdout) == 0 ? 0 : 1;
}
