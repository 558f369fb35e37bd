/* Cuts a line of a scenario into words and looks each up in the table of its line. */
#include "driver_words.h"

#include <string.h>

/* Plain loops: a scenario of thousands of lines is read again many times a second. */
static bool is_blank(char sign) {
    return sign == ' ' || sign == '\t' || sign == '\r';
}

static char *end_of_key(char *sign) {
    while (*sign && *sign != '=' && !is_blank(*sign))
        sign++;
    return sign;
}

static char *end_of_value(char *sign, bool quoted) {
    while (*sign && (quoted ? *sign != '"' : !is_blank(*sign)))
        sign++;
    return sign;
}

const char *next_word(char **line, char **value) {
    char *word = *line;
    bool closed = true;
    while (is_blank(*word))
        word++;
    *value = NULL;
    if (!*word || *word == '#')
        return NULL;
    char *end = end_of_key(word);
    if (*end == '=') {
        *end++ = 0;
        bool quoted = *end == '"';
        *value = end + quoted;
        end = end_of_value(*value, quoted);
        closed = !quoted || *end;
    }
    *line = *end ? end + 1 : end;
    *end = 0;
    return closed ? word : "an unclosed quotation mark"; /* which is no key of any line */
}

static const char *read_word(const struct field *fields, const char *key, const char *value, void *into) {
    for (; fields->key; fields++)
        if (!strcmp(fields->key, key))
            return fields->read(value, (char *)into + fields->offset);
    return "is not a key of this line";
}

const char *read_words(const struct field *fields, char *line, void *into, const char **culprit) {
    const char *key;
    char *value;
    while ((key = next_word(&line, &value))) {
        const char *wrong = read_word(fields, key, value, into);
        *culprit = key;
        if (wrong)
            return wrong;
    }
    *culprit = "this line"; /* for what is found wrong with it as a whole */
    return NULL;
}
