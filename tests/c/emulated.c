/* One call of a generated kernel for a test on another machine: arguments from a file, results to
 * another. Compiled for a cell and a type by -DHEADER="NAME.h" -DCELL=NAME -DREAL=f32.
 *
 *   emulated FUNCTION REQUEST RESULTS
 *
 * FUNCTION is memory_needed, forward, backward or step. An argument structure is an array of
 * machine words, so a request is a list of words in the order of the header, each a kind and a
 * value:
 *   VALUE  the word itself
 *   GIVEN  an array of so many bytes, which follow
 *   MADE   an array of so many bytes that the call writes: filled with NaN, and put into RESULTS
 *   WORK   the same, and dropped
 * The exit status is that of the kernel, or 99. -DEXPECTED_BITS=N checks the vectors the header chose
 * by itself. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef EXPECTED_BITS
#define DK_IMPLEMENTATION /* which says how wide vectors are */
#endif
#include HEADER

#define JOIN_(a, b) a##_##b
#define JOIN(a, b) JOIN_(a, b)
#define NAME(suffix) JOIN(JOIN(CELL, REAL), suffix)

enum { VALUE, GIVEN, MADE, WORK, WORDS_MAX = 256, BROKEN = 99 };

static size_t words[WORDS_MAX], made[WORDS_MAX];

#ifdef EXPECTED_BITS
_Static_assert(DK_VECTOR_BITS == EXPECTED_BITS, "another vector width was expected");
#endif
_Static_assert(sizeof(void *) == sizeof(size_t), "a pointer is a word");
_Static_assert(sizeof(NAME(forward_args)) <= sizeof words, "too many arguments");
_Static_assert(sizeof(NAME(backward_args)) <= sizeof words, "too many arguments");

static void *array(FILE *file, size_t kind, size_t bytes)
{
    void *found = malloc(bytes + 1);
    if (found == NULL || (kind == GIVEN && fread(found, 1, bytes, file) != bytes)) {
        exit(BROKEN);
    }
    if (kind != GIVEN) {
        memset(found, 0xff, bytes); /* every float is NaN */
    }
    return found;
}

static size_t read_words(const char *path)
{
    FILE *file = fopen(path, "rb");
    size_t pair[2], count = 0;
    if (file == NULL) {
        exit(BROKEN);
    }
    while (fread(pair, sizeof pair, 1, file) == 1 && count < WORDS_MAX) {
        words[count] = pair[1];
        if (pair[0] != VALUE) {
            void *found = array(file, pair[0], pair[1]);
            memcpy(&words[count], &found, sizeof found);
            made[count] = pair[0] == MADE ? pair[1] : 0;
        }
        ++count;
    }
    (void)fclose(file);
    return count;
}

static dk_status call(const char *function, size_t count)
{
    const size_t bytes = count * sizeof words[0];
    if (strcmp(function, "memory_needed") == 0) {
        JOIN(CELL, sizes) sizes;
        memcpy(&sizes, words, sizeof sizes);
        void *memory;
        memcpy(&memory, &words[count - 1], sizeof memory);
        return NAME(memory_needed)(&sizes, 1, memory);
    }
    if (strcmp(function, "backward") == 0) {
        NAME(backward_args) args;
        memcpy(&args, words, sizeof args);
        return bytes == sizeof args ? NAME(backward)(&args, NULL) : (dk_status)BROKEN;
    }
    NAME(forward_args) args;
    memcpy(&args, words, sizeof args);
    if (bytes != sizeof args) {
        return (dk_status)BROKEN;
    }
    return strcmp(function, "step") == 0 ? NAME(step)(&args, NULL) : NAME(forward)(&args, NULL);
}

int main(int argc, char **argv)
{
    if (argc != 4) {
        return BROKEN;
    }
    const size_t count = read_words(argv[2]);
    const dk_status status = call(argv[1], count);
    FILE *file = fopen(argv[3], "wb");
    if (file == NULL) {
        return BROKEN;
    }
    for (size_t i = 0; i < count; ++i) {
        void *source;
        memcpy(&source, &words[i], sizeof source);
        if (made[i] > 0 && fwrite(source, 1, made[i], file) != made[i]) {
            return BROKEN;
        }
    }
    return fclose(file) == 0 ? (int)status : BROKEN;
}
