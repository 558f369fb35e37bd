/* Cuts a line of a scenario into words and looks each up in the table of its line. */
#include "driver_words.h"

#include <string.h>

const char *next_word(char **line, char **value) {
    char *word = *line + strspn(*line, " \t\r");
    char *end = word + strcspn(word, " \t\r=");
    bool closed = true;
    *value = NULL;
    if (!*word || *word == '#')
        return NULL;
    if (*end == '=') {
        *end++ = 0;
        bool quoted = *end == '"';
        *value = end + quoted;
        end = *value + strcspn(*value, quoted ? "\"" : " \t\r");
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
